package repository

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/client"
	"tufboot/metadata/storage"
)

// bundleSource makes a repository with two channels, two architectures and a
// step.
func bundleSource(t *testing.T) (*Repository, *memStore, Signers) {
	t.Helper()
	r, s, keys := memRepo(t)
	for _, p := range []struct {
		version, arch, channel string
		Pointing
	}{
		{"1", "amd64", "stable", Pointing{}},
		{"2", "amd64", "stable", Pointing{}},
		{"3", "amd64", "stable", Pointing{Minimum: "2"}},
		{"3", "arm64", "stable", Pointing{}},
		{"4", "amd64", "beta", Pointing{}},
	} {
		opts := release(t, keys, p.version, p.version+p.arch)
		opts.Arch, opts.Channel, opts.Pointing = p.arch, p.channel, p.Pointing
		if _, err := r.Publish(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	return r, s, rotate(t, r, keys, true, Timestamp)
}

// tryNode reads a bundle as nodes do: on the present version, on one that has
// to go through the step, and by version.
func tryNode(t *testing.T) func(context.Context, storage.Reader, *Bundled) error {
	return func(ctx context.Context, at storage.Reader, b *Bundled) error {
		n := newNode(t, at, start)
		c := n.client()
		if err := c.Refresh(ctx); err != nil {
			return err
		}
		for _, release := range b.Releases {
			found, err := c.ReleaseByVersion(ctx, release.Version, release.Arch)
			if err != nil {
				return err
			}
			for _, a := range found.Release.Artifacts() {
				if err := c.Download(ctx, a, nil, io.Discard, nil); err != nil {
					return err
				}
			}
			if release.Arch != "amd64" {
				continue
			}
			for booted, want := range map[string]string{"": "3", "2": "3", "1": "2"} {
				if found, err := c.ResolveFor(ctx, "stable", "amd64", booted); err != nil || found.Release.Version != want {
					return fmt.Errorf("a node on %q goes to %v, not %s: %w", booted, found, want, err)
				}
			}
		}
		return nil
	}
}

func bundleOptions(t *testing.T) BundleOptions {
	return BundleOptions{Options: at(start), Channel: "stable", Try: tryNode(t)}
}

// filesOf returns the files of a folder with their contents.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestBundle writes the same bundle in all forms, and looks at what is in it.
func TestBundle(t *testing.T) {
	_, s, _ := bundleSource(t)
	dir := filepath.Join(t.TempDir(), "stick")
	about, err := BundleFolder(t.Context(), s, dir, bundleOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	files := filesOf(t, dir)
	var names []string
	for name := range files {
		base := filepath.Base(name)
		if hash, rest, ok := strings.Cut(base, "."); ok && len(hash) == 64 {
			name = filepath.Dir(name) + "/" + rest
		}
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"bundle.json",
		"metadata/1.root.json", "metadata/1.targets.json", "metadata/2.root.json", "metadata/6.channels.json",
		"metadata/6.releases.json", "metadata/6.snapshot.json", "metadata/timestamp.json",
		"targets/channels/stable.json",
		"targets/releases/2/amd64/initramfs", "targets/releases/2/amd64/release.json", "targets/releases/2/amd64/vmlinuz",
		"targets/releases/3/amd64/initramfs", "targets/releases/3/amd64/release.json", "targets/releases/3/amd64/vmlinuz",
		"targets/releases/3/arm64/initramfs", "targets/releases/3/arm64/release.json", "targets/releases/3/arm64/vmlinuz",
	}
	if !slices.Equal(names, want) {
		t.Errorf("it holds\n%q, not\n%q", names, want)
	}
	if about.Files != len(want)-1 || len(about.Releases) != 3 || !about.Releases[0].Step || !about.Expires.Equal(start.Add(14*day)) {
		t.Errorf("got %+v", about)
	}
	if _, err := os.Stat(filepath.Join(dir, storage.WorkDir)); !os.IsNotExist(err) {
		t.Errorf("there is a work folder: %v", err)
	}

	archive := filepath.Join(t.TempDir(), "stick.tar")
	if _, err := BundleTar(t.Context(), s, archive, bundleOptions(t)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	if _, err := BundleStream(t.Context(), readOnly{s}, &stream, bundleOptions(t)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stream.Bytes(), data) {
		t.Error("file and stream differ")
	}
	wantTar(t, data, files)
}

// wantTar compares an archive with files, and looks at its headers.
func wantTar(t *testing.T, data []byte, files map[string]string) {
	t.Helper()
	before, found := "", 0
	for r := tar.NewReader(bytes.NewReader(data)); ; found++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil || files[h.Name] != string(content) {
			t.Errorf("%s is not the file's content (%v)", h.Name, err)
		}
		if h.Name <= before || h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("after %s: header %+v", before, h)
		}
		before = h.Name
	}
	if found != len(files) {
		t.Errorf("%d files, not %d", found, len(files))
	}
}

// TestBundleFromFile lets a node read a folder as it lies on a stick.
func TestBundleFromFile(t *testing.T) {
	_, s, _ := bundleSource(t)
	dir := filepath.Join(t.TempDir(), "stick")
	opts := bundleOptions(t)
	opts.Arch = "amd64"
	about, err := BundleFolder(t.Context(), s, dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(about.Releases) != 2 {
		t.Errorf("got %+v", about.Releases)
	}
	c, err := client.New(client.Options{
		Server: "file://" + dir, Root: s.files[versionedFile(Root, 1)].data, Dir: t.TempDir(),
		Now: func() time.Time { return start },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, err := c.Resolve(t.Context(), "stable", "amd64")
	if err != nil || found.Release.Version != "3" {
		t.Fatalf("%+v, %v", found, err)
	}
	if _, err := c.Resolve(t.Context(), "stable", "arm64"); err == nil {
		t.Error("the other architecture is there, too")
	}
}

// TestBundleAgain writes over an earlier bundle: what is the same is not written
// again, and what is not needed is removed.
func TestBundleAgain(t *testing.T) {
	r, s, keys := bundleSource(t)
	dir := filepath.Join(t.TempDir(), "stick")
	opts := bundleOptions(t)
	if _, err := BundleFolder(t.Context(), s, dir, opts); err != nil {
		t.Fatal(err)
	}
	opts.Try = nil
	if _, err := r.Publish(t.Context(), release(t, keys, "5", "5")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := BundleFolder(t.Context(), s, dir, opts); err != nil {
			t.Fatal(err)
		}
		newNode(t, storage.NewFolder(dir), start).sees("5")
		fresh := filepath.Join(t.TempDir(), "fresh")
		if _, err := BundleFolder(t.Context(), s, fresh, opts); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(filesOf(t, dir)), fmt.Sprint(filesOf(t, fresh)); got != want {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
	}
}

// TestBundleKilled stops it at every write. A second run completes.
func TestBundleKilled(t *testing.T) {
	t.Parallel()
	_, s, _ := bundleSource(t)
	for at, killed := 0, true; killed; at++ {
		dir := filepath.Join(t.TempDir(), "stick")
		m := newBundler(s, storage.NewFolder(dir), bundleOptions(t))
		crash := &crashStore{Folder: storage.NewFolder(dir), at: at, mode: at % crashModes}
		m.to, m.opts.Parallel = crash, 1
		_, err := m.contents(t.Context(), bundleOptions(t), func(c *bundleContents) error { return m.fill(t.Context(), c) })
		if killed = crash.crashed; killed != errors.Is(err, errCrash) {
			t.Fatalf("killed at %d, and the error is %v", at, err)
		}
		if _, err := BundleFolder(t.Context(), s, dir, bundleOptions(t)); err != nil {
			t.Fatalf("killed at %d: %v", at, err)
		}
	}
}

func TestBundleRefuses(t *testing.T) {
	r, s, keys := bundleSource(t)
	_, other, otherKeys := memRepo(t)
	memPublish(t, newRepository(other, at(start)), otherKeys, "1")
	before := s.clone()
	memPublish(t, r, keys, "6")
	folder := func(files ...string) string {
		dir := t.TempDir()
		for _, name := range files {
			writeFile(t, filepath.Join(dir, name), "{}")
		}
		return dir
	}
	bundled := func(from *memStore) string {
		dir := filepath.Join(t.TempDir(), "stick")
		opts := bundleOptions(t)
		opts.Try = nil
		if _, err := BundleFolder(t.Context(), from, dir, opts); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	repo, _ := newRepo(t)
	with := func(change func(o *BundleOptions)) BundleOptions {
		o := bundleOptions(t)
		o.Try = nil
		change(&o)
		return o
	}
	same := with(func(*BundleOptions) {})
	for _, test := range []struct {
		name   string
		from   *memStore
		dir    string
		opts   BundleOptions
		reason string
	}{
		{"an empty folder", s, folder(), same, ""},
		{"a file", s, folder("letter.txt"), same, ReasonNotEmpty},
		{"a file of another's bundle", s, folder("bundle.json"), same, ReasonNotEmpty},
		{"a repository", s, repo.Place(), same, ReasonNotEmpty},
		{"an earlier bundle", s, bundled(before), same, ""},
		{"a later bundle", before, bundled(s), same, ReasonSourceOlder},
		{"another repository's bundle", other, bundled(s), same, ReasonFork},
		{"no channel", s, folder(), with(func(o *BundleOptions) { o.Channel = "gamma" }), ReasonNoChannel},
		{"no architecture", s, folder(), with(func(o *BundleOptions) { o.Arch = "riscv64" }), ReasonNoRelease},
		{"wrong root", s, folder(), with(func(o *BundleOptions) { o.Root = other.files[versionedFile(Root, 1)].data }), "wrong-root"},
		{"right root", s, folder(), with(func(o *BundleOptions) { o.Root = s.files[versionedFile(Root, 2)].data }), ""},
		{"expired", s, folder(), with(func(o *BundleOptions) { o.Now = at(start.Add(20 * day)).Now }), "metadata-expired"},
		{"expired, allowed", s, folder(), with(func(o *BundleOptions) { o.Now, o.AllowExpired = at(start.Add(20*day)).Now, true }), ""},
		{"no repository", newMemStore(), folder(), same, ReasonNotRepository},
	} {
		t.Run(test.name, func(t *testing.T) {
			was := filesOf(t, test.dir)
			_, err := BundleFolder(t.Context(), test.from, test.dir, test.opts)
			if test.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantReason(t, err, test.reason)
			now := filesOf(t, test.dir)
			delete(now, ".tufboot/lock")
			delete(was, ".tufboot/lock")
			if fmt.Sprint(was) != fmt.Sprint(now) {
				t.Errorf("the folder was changed: %v", now)
			}
		})
	}
}

// TestBundleBad has a source with a bad target, and a node that is not content:
// no archive appears.
func TestBundleBad(t *testing.T) {
	_, s, _ := bundleSource(t)
	dir := t.TempDir()
	archive := filepath.Join(dir, "stick.tar")
	unhappy := errors.New("unhappy")
	opts := bundleOptions(t)
	opts.Try = func(context.Context, storage.Reader, *Bundled) error { return unhappy }
	if _, err := BundleTar(t.Context(), s, archive, opts); !errors.Is(err, unhappy) {
		t.Errorf("got %v", err)
	}
	if _, err := BundleFolder(t.Context(), s, filepath.Join(dir, "stick"), opts); !errors.Is(err, unhappy) {
		t.Errorf("got %v", err)
	}
	var stream bytes.Buffer
	if _, err := BundleStream(t.Context(), s, &stream, opts); !errors.Is(err, unhappy) || stream.Len() > 0 {
		t.Errorf("got %v and %d bytes", err, stream.Len())
	}
	for _, name := range s.names("targets/releases/3/amd64/") {
		bad := s.clone()
		data := bytes.Clone(bad.files[name].data)
		data[0] ^= 1
		bad.put(name, data)
		var invalid *InvalidError
		if _, err := BundleTar(t.Context(), bad, archive, bundleOptions(t)); !errors.As(err, &invalid) {
			t.Errorf("%s: got %v", name, err)
		}
		opts := bundleOptions(t)
		opts.Try = nil
		if _, err := BundleStream(t.Context(), bad, io.Discard, opts); !errors.As(err, &invalid) {
			t.Errorf("%s: got %v", name, err)
		}
		folder := filepath.Join(t.TempDir(), "stick")
		if _, err := BundleFolder(t.Context(), bad, folder, opts); !errors.As(err, &invalid) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(folder, name)); !os.IsNotExist(err) {
			t.Errorf("%s is there", name)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "stick" {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// TestBundleLarge warns of what a FAT file system cannot hold.
func TestBundleLarge(t *testing.T) {
	var log bytes.Buffer
	m := newBundler(newMemStore(), nil, BundleOptions{Options: Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}})
	m.warnLarge("small", 4<<30-1)
	if log.Len() > 0 {
		t.Errorf("warned of a small file: %s", log.String())
	}
	m.warnLarge("large", 4<<30)
	if !strings.Contains(log.String(), "FAT") {
		t.Errorf("not warned: %s", log.String())
	}
}

// TestBundleBins asks only for the bins that a node does.
func TestBundleBins(t *testing.T) {
	r, s, keys := memRepo(t)
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 70 {
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			if _, err := e.AddBytes(t.Context(), metadata.ReleaseTarget(fmt.Sprint(i), "amd64", file), []byte(file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := e.Commit(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	e.Close()
	memPublish(t, r, keys, "100")
	s.forget()
	dir := filepath.Join(t.TempDir(), "stick")
	opts := bundleOptions(t)
	opts.Try = nil
	if _, err := BundleFolder(t.Context(), s, dir, opts); err != nil {
		t.Fatal(err)
	}
	newNode(t, storage.NewFolder(dir), start).sees("100")
	bins, err := filepath.Glob(filepath.Join(dir, "metadata/*.releases-*.json"))
	if err != nil || len(bins) == 0 || len(bins) > 3 {
		t.Errorf("the bins %q, %v", bins, err)
	}
	for name, opens := range s.opens {
		if strings.HasPrefix(name, "targets/") && opens > 2 {
			t.Errorf("%s was read %d times", name, opens)
		}
	}
}

// denying is a store that denies access to a file that is not there, as some web
// servers do.
type denying struct{ storage.Reader }

func (d denying) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	if name == bundleFile {
		return nil, storage.Info{}, errors.New("access denied")
	}
	return d.Reader.Open(ctx, name)
}

// TestNoBundle: what cannot be read does not make a bundle of a repository.
func TestNoBundle(t *testing.T) {
	r, _ := newRepo(t)
	for _, from := range []storage.Reader{r.store, denying{r.store}} {
		if b, err := ReadBundled(t.Context(), from); b != nil || err != nil {
			t.Errorf("got %+v, %v", b, err)
		}
	}
}

// TestBundleIsNotPublishedTo: nor is what is left of one without its bundle.json, which
// lacks files of the repository that it was made from.
func TestBundleIsNotPublishedTo(t *testing.T) {
	_, s, keys := bundleSource(t)
	dir := filepath.Join(t.TempDir(), "stick")
	if _, err := BundleFolder(t.Context(), s, dir, bundleOptions(t)); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), storage.NewFolder(dir), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true})
	wantReason(t, err, ReasonBundle)
	if err := os.Remove(filepath.Join(dir, bundleFile)); err != nil {
		t.Fatal(err)
	}
	_, err = r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true})
	wantReason(t, err, ReasonBadRepository)
}
