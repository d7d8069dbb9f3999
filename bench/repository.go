package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/client"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// manyReleases is how large the larger of the two repositories is that are
// compared.
const manyReleases = 10_000

// repositories compares commands on a repository with one release with the same
// on one with manyReleases.
func (b *bench) repositories(ctx context.Context) (string, error) {
	if err := b.openLab(ctx); err != nil {
		return "", err
	}
	l := b.lab
	if err := os.WriteFile(l.at("tiny"), []byte("tiny"), 0o644); err != nil {
		return "", err
	}
	small, err := newRepo(ctx, l, "small", 1)
	if err != nil {
		return "", err
	}
	large, err := newRepo(ctx, l, "large", manyReleases)
	if err != nil {
		return "", err
	}
	n := 0
	publish := func(r *repo) (time.Duration, error) {
		n++
		return l.time(ctx, "repo-tool", "publish", "--repo", r.dir, "--keys", r.keys, "--version", "9."+strconv.Itoa(n),
			"--kernel", l.at("tiny"), "--initramfs", l.at("tiny"))
	}
	refresh := func(r *repo) (time.Duration, error) {
		return l.time(ctx, "repo-tool", "refresh", "--repo", r.dir, "--keys", r.keys)
	}
	status := func(r *repo) (time.Duration, error) {
		return l.time(ctx, "repo-tool", "status", "--repo", r.dir)
	}
	var t table
	t.add("command", "1 release", fmt.Sprintf("%d releases", manyReleases), "ratio")
	for _, row := range []struct {
		name string
		run  func(*repo) (time.Duration, error)
	}{
		{"repo-tool publish, tiny payload", publish},
		{"repo-tool refresh, nothing due", refresh},
		{"repo-tool status", status},
		{"client, nothing new", func(r *repo) (time.Duration, error) { return r.check(ctx) }},
	} {
		few, many, err := compare(b.rounds*5, func() (time.Duration, error) { return row.run(small) }, func() (time.Duration, error) { return row.run(large) })
		if err != nil {
			return "", err
		}
		t.add(row.name, fmt.Sprintf("%.1f ms", ms(few)), fmt.Sprintf("%.1f ms", ms(many)), times(many, few))
	}
	return t.String() + fmt.Sprintf("\nNothing new costs the client %d requests and %d bytes (1 release), %d requests and %d bytes (%d releases).\n",
		small.requests, small.bytes, large.requests, large.bytes, manyReleases), nil
}

// publishing compares the publication of a large release with what a shell does
// to put the files into place.
func (b *bench) publishing(ctx context.Context) (string, error) {
	const size = 500 // MB
	if err := b.openLab(ctx); err != nil {
		return "", err
	}
	l := b.lab
	r, err := newRepo(ctx, l, "payload", 1)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(l.at("tiny"), []byte("tiny"), 0o644); err != nil {
		return "", err
	}
	if err := random(l.at("large-initramfs"), size*mb, 7); err != nil {
		return "", err
	}
	n := 0
	var memory int64
	ours := func() (time.Duration, error) {
		n++
		s, err := l.measure(exec.CommandContext(ctx, filepath.Join(l.bin, "repo-tool"), "publish", "--repo", r.dir, "--keys", r.keys,
			"--version", "99."+strconv.Itoa(n), "--kernel", l.at("tiny"), "--initramfs", l.at("large-initramfs")))
		memory = max(memory, s.memory)
		return s.wall, err
	}
	theirs := func() (time.Duration, error) {
		s, err := l.measure(exec.CommandContext(ctx, "sh", "-c", fmt.Sprintf("cp %s %s && sync %[2]s && sha256sum %[2]s >/dev/null && rm %[2]s",
			l.at("large-initramfs"), l.at("copy"))))
		return s.wall, err
	}
	tool, shell, err := compare(b.rounds, ours, theirs)
	if err != nil {
		return "", err
	}
	var t table
	t.add(fmt.Sprintf("%d MB", size), "repo-tool publish", "cp + sync + sha256sum", "ratio", "peak memory")
	t.add("", seconds(tool), seconds(shell), times(tool, shell), megabytes(memory))
	return t.String(), nil
}

// compare runs both in turn and returns their medians.
func compare(rounds int, a, b func() (time.Duration, error)) (time.Duration, time.Duration, error) {
	var as, bs []cost
	for range rounds {
		x, err := a()
		if err != nil {
			return 0, 0, err
		}
		y, err := b()
		if err != nil {
			return 0, 0, err
		}
		as, bs = append(as, cost{wall: x}), append(bs, cost{wall: y})
	}
	return middle(as).wall, middle(bs).wall, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// time runs a command.
func (l *lab) time(ctx context.Context, name string, args ...string) (time.Duration, error) {
	start := time.Now()
	_, err := l.tool(ctx, name, args...)
	return time.Since(start), err
}

// repo is a repository made by repo-tool, and a client of it.
type repo struct {
	dir, keys       string
	client          *client.Client
	have            metadata.ID // what a node has that follows the channel
	requests, bytes int64       // of the last check
}

// newRepo makes a repository with so many releases. All but the first are only
// in its metadata, which is what is measured.
func newRepo(ctx context.Context, l *lab, name string, releases int) (*repo, error) {
	r := &repo{dir: l.at(name), keys: l.at(name + "-keys")}
	if _, err := l.tool(ctx, "repo-tool", "init", "--repo", r.dir, "--keys", r.keys, "--unsafe-plaintext-keys"); err != nil {
		return nil, err
	}
	_, err := l.tool(ctx, "repo-tool", "publish", "--repo", r.dir, "--keys", r.keys, "--version", "1",
		"--kernel", l.at("kernel"), "--initramfs", l.at("initramfs"))
	if err != nil {
		return nil, err
	}
	if releases > 1 {
		if err := r.fill(ctx, releases-1); err != nil {
			return nil, err
		}
	}
	root, err := os.ReadFile(filepath.Join(r.dir, "metadata/1.root.json"))
	if err != nil {
		return nil, err
	}
	r.client, err = client.New(client.Options{
		Server: "http://repository", Root: root, Dir: l.at(name + "-client"), Transport: &counter{repo: r},
	})
	if err != nil {
		return nil, err
	}
	_, err = r.check(ctx)
	return r, err
}

// fill names releases whose files are not there.
func (r *repo) fill(ctx context.Context, n int) error {
	opened, err := repository.Open(ctx, hollow{storage.NewFolder(r.dir)}, repository.Options{})
	if err != nil {
		return err
	}
	keys, err := repository.OpenKeys([]string{r.keys}, nil)
	if err != nil {
		return err
	}
	e, err := opened.Edit(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	for i := range n {
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			target := metadata.ReleaseTarget("0."+strconv.Itoa(i), "amd64", file)
			if _, err := e.AddBytes(ctx, target, []byte(target)); err != nil {
				return err
			}
		}
	}
	_, err = e.Commit(ctx, keys)
	return err
}

// hollow is a store that takes targets and does not keep them.
type hollow struct{ *storage.Folder }

func (h hollow) Import(ctx context.Context, open func() (io.ReadCloser, error), _ func(string) string) (string, int64, error) {
	f, err := open()
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	return storage.CopyHashed(ctx, io.Discard, f)
}

// check lets the client look for something new.
func (r *repo) check(ctx context.Context) (time.Duration, error) {
	r.requests, r.bytes = 0, 0
	start := time.Now()
	got, err := r.client.Latest(ctx, "stable", "amd64", "", r.have)
	if err != nil {
		return 0, err
	}
	r.have = got.ID
	return time.Since(start), nil
}

// counter hands the repository out without a network and counts.
type counter struct{ repo *repo }

func (c *counter) RoundTrip(req *http.Request) (*http.Response, error) {
	c.repo.requests++
	resp, err := storage.Transport{From: storage.NewFolder(c.repo.dir)}.RoundTrip(req)
	if err == nil {
		c.repo.bytes += resp.ContentLength
	}
	return resp, err
}
