//go:build linux && amd64

package kill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"tufboot/internal/atomicfile"
	"tufboot/metadata/client"
	"tufboot/torture/kill/trace"
)

// press is where a release engineer works: a folder with the repository, the keys and
// what a node keeps of the repository.
type press struct {
	*world
	dir string
}

// edition is a run of repo-tool, and what readers may see behind it.
type edition struct {
	name    string
	command []string
	before  tree
	// old and new are the releases to which the channel points, until timestamp.json is
	// replaced and from then on.
	old, new string
	calls    int // that change something
}

// editions makes a repository with release 1 and a reader who has seen it.
func (p *press) editions(ctx context.Context) ([]*edition, error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	publish := func(version string) []string {
		return []string{"publish", "--unsafe-any-initramfs", "--version", version, "--kernel", p.path(version + ".vmlinuz"), "--initramfs", p.path(version + ".initramfs"), "--arch", arch}
	}
	for _, command := range [][]string{{"init", "--unsafe-plaintext-keys"}, publish("1")} {
		if err := run(p.repoTool, p.arguments(command)...); err != nil {
			return nil, err
		}
	}
	if version, err := p.read(ctx, p.place("node")); err != nil || version != "1" {
		return nil, fmt.Errorf("a node reads release %q: %w", version, err)
	}
	before, err := takeTree(p.dir)
	if err != nil {
		return nil, err
	}
	all := []*edition{
		{name: "publish", command: publish("2"), before: before, old: "1", new: "2"},
		{name: "refresh", command: []string{"refresh", "--all"}, before: before, old: "1", new: "1"},
	}
	for _, e := range all {
		r, err := p.traced(e, trace.Point{})
		if err != nil {
			return nil, err
		}
		e.calls = len(r.Calls)
	}
	return all, nil
}

func (p *press) place(name string) string { return filepath.Join(p.dir, name) }

func (p *press) arguments(command []string) []string {
	return append([]string{command[0], "--repo", p.place("repo"), "--keys", p.place("keys")}, command[1:]...)
}

// try kills one run of repo-tool; see node.try.
func (p *press) try(ctx context.Context, e *edition, at trace.Point) (over bool, err error) {
	r, err := p.traced(e, at)
	if err != nil {
		return false, fmt.Errorf("%s:%s: %w: %s", e.name, at, err, r.Stderr)
	}
	if !r.Killed {
		if r.Code != 0 {
			return true, fmt.Errorf("%s: a run that nobody disturbed ends with %d: %s", e.name, r.Code, r.Stderr)
		}
		return true, nil
	}
	if err := p.judge(ctx, e, r.Done); err != nil {
		return false, fmt.Errorf("%s:%s, at %s: %w", e.name, at, r.Calls[at.N-1], err)
	}
	return false, nil
}

func (p *press) traced(e *edition, at trace.Point) (trace.Result, error) {
	if err := e.before.restore(p.dir); err != nil {
		return trace.Result{}, err
	}
	return trace.Run(append([]string{p.launch, "-trace", p.repoTool}, p.arguments(e.command)...), at)
}

// judge reads the repository as it stands, and then completes what was begun.
func (p *press) judge(ctx context.Context, e *edition, done []trace.Call) error {
	want := e.old
	for _, c := range done {
		if strings.HasPrefix(c.Name, "rename") && strings.Contains(c.Args, "/metadata/timestamp.json") {
			want = e.new
		}
	}
	if err := p.readers(ctx, want); err != nil {
		return err
	}
	if err := run(p.repoTool, p.arguments(e.command)...); err != nil {
		return fmt.Errorf("once more: %w", err)
	}
	if err := p.readers(ctx, e.new); err != nil {
		return fmt.Errorf("once more, and then: %w", err)
	}
	if err := run(p.repoTool, "verify", "--repo", p.place("repo")); err != nil {
		return err
	}
	left, err := filepath.Glob(p.place("repo/.tufboot/" + atomicfile.TempPrefix + "*"))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("once more, and %q are left", left)
	}
	return err
}

// readers reads the repository as a node that holds the last state, and as a new one.
func (p *press) readers(ctx context.Context, want string) error {
	fresh := p.place("fresh")
	defer os.RemoveAll(fresh)
	for name, dir := range map[string]string{"the last state": p.place("node"), "nothing": fresh} {
		version, err := p.read(ctx, dir)
		if err != nil {
			return fmt.Errorf("a node that holds %s cannot read: %w", name, err)
		}
		if version != want {
			return fmt.Errorf("a node that holds %s reads release %s, not %s", name, version, want)
		}
	}
	return nil
}

// read reads all of the channel's release, which is verified on the way.
func (p *press) read(ctx context.Context, dir string) (version string, err error) {
	root, err := os.ReadFile(p.place("repo/metadata/1.root.json"))
	if err != nil {
		return "", err
	}
	c, err := client.New(client.Options{Server: "file://" + p.place("repo"), Root: root, Dir: dir})
	if err != nil {
		return "", err
	}
	if err := c.Refresh(ctx); err != nil {
		return "", err
	}
	resolved, err := c.Resolve(ctx, channel, arch)
	if err != nil {
		return "", err
	}
	r := resolved.Release
	for _, a := range r.Artifacts() {
		err = errors.Join(err, c.Download(ctx, a, strings.NewReader(""), io.Discard, nil))
	}
	_, _, mapErr := c.ChunkMap(ctx, *r.InitramfsChunks, r.Initramfs)
	return r.Version, errors.Join(err, mapErr)
}
