package repository

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// tree returns the names and sizes of all files that can be handed out.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, top := range []string{"metadata", "targets"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				names = append(names, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return names
}

func TestPublishAgain(t *testing.T) {
	r, keys := newRepo(t)
	opts := release(t, keys, "1", "content")
	first, err := r.Publish(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t, r.Place())
	again, err := r.Publish(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if again.Changed || again.ID != first.ID || again.Versions != first.Versions {
		t.Errorf("the same again: %+v after %+v", again, first)
	}
	for name, change := range map[string]func(*PublishOptions){
		"kernel":    func(o *PublishOptions) { o.Kernel = release(t, keys, "1", "other").Kernel },
		"initramfs": func(o *PublishOptions) { o.Initramfs = release(t, keys, "1", "other").Initramfs },
		"cmdline":   func(o *PublishOptions) { o.Cmdline = "quiet" },
		"notes":     func(o *PublishOptions) { o.Notes = "new" },
	} {
		other := opts
		change(&other)
		_, err := r.Publish(t.Context(), other)
		if err == nil {
			t.Errorf("same version with another %s: accepted", name)
			continue
		}
		wantReason(t, err, ReasonVersionExists)
	}
	if after := tree(t, r.Place()); !slices.Equal(before, after) {
		t.Errorf("files appeared: %q, before %q", after, before)
	}
}

func TestPublishOtherArch(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	opts := release(t, keys, "1", "arm")
	opts.Arch = "arm64"
	if _, err := r.Publish(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	list, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || !slices.Equal(list[0].Channels, []string{"stable"}) || !slices.Equal(list[1].Channels, []string{"stable"}) {
		t.Errorf("got %+v", list)
	}
}

func TestChannelDoesNotGoBackByItself(t *testing.T) {
	r, keys := newRepo(t)
	one := release(t, keys, "1", "1")
	if _, err := r.Publish(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	publish(t, r, keys, "2")
	_, err := r.Publish(t.Context(), one)
	wantReason(t, err, ReasonChannelMoved)
	newReader(t, r.Place()).sees("2")

	one.Channel = "beta"
	if _, err := r.Publish(t.Context(), one); err != nil {
		t.Fatalf("a channel that points nowhere: %v", err)
	}
	newReader(t, r.Place()).sees("2")

	one.Channel, one.Back = "stable", true
	if _, err := r.Publish(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	newReader(t, r.Place()).sees("1")
}

func TestPublishRefusesBadInput(t *testing.T) {
	r, keys := newRepo(t)
	empty := filepath.Join(t.TempDir(), "empty")
	writeFile(t, empty, "")
	for name, change := range map[string]func(*PublishOptions){
		"version":      func(o *PublishOptions) { o.Version = "../1" },
		"arch":         func(o *PublishOptions) { o.Arch = "x/y" },
		"channel":      func(o *PublishOptions) { o.Channel = "Stable" },
		"cmdline":      func(o *PublishOptions) { o.Cmdline = `a="b"` },
		"empty kernel": func(o *PublishOptions) { o.Kernel = empty },
		"a folder":     func(o *PublishOptions) { o.Initramfs = filepath.Dir(empty) },
	} {
		opts := release(t, keys, "1", "1")
		change(&opts)
		if _, err := r.Publish(t.Context(), opts); !errors.Is(err, metadata.ErrFormat) {
			t.Errorf("bad %s: %v", name, err)
		}
	}
	newReader(t, r.Place()).sees("")
}

// TestPublishReadsNoOtherPayload spoils what is published: a publication must
// not notice, or it would slow down with every release.
func TestPublishReadsNoOtherPayload(t *testing.T) {
	r, keys := newRepo(t)
	p := publish(t, r, keys, "1")
	for _, a := range p.Release.Artifacts() {
		if err := os.Remove(filepath.Join(r.Place(), filepath.FromSlash(targetFile(a.Target, a.SHA256)))); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, r, keys, "2")
	newReader(t, r.Place()).sees("2")
}

// TestPublishMemory publishes 64 MiB and looks at what was allocated.
func TestPublishMemory(t *testing.T) {
	r, keys := newRepo(t)
	opts := release(t, keys, "1", "1")
	if err := os.Truncate(opts.Initramfs, 64<<20); err != nil {
		t.Fatal(err)
	}
	var last, before, after = int64(0), runtime.MemStats{}, runtime.MemStats{}
	opts.Progress = func(_ string, done, total int64) { last = total - done }
	runtime.ReadMemStats(&before)
	if _, err := r.Publish(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Errorf("%d bytes were allocated for 64 MiB", grown)
	}
	if last != 0 {
		t.Errorf("progress ended %d bytes early", last)
	}
}

func TestLock(t *testing.T) {
	r, keys := newRepo(t)
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := newRepository(storage.NewFolder(r.Place()), at(start))
	_, err = other.Publish(t.Context(), release(t, keys, "1", "1"))
	wantReason(t, err, ReasonLocked)
	if _, err := other.List(t.Context()); err != nil {
		t.Errorf("readers need no lock: %v", err)
	}
	e.Close()
	publish(t, other, keys, "1")
}

func TestPublishNeedsKeys(t *testing.T) {
	r, _ := newRepo(t)
	_, strangers, _ := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
	before := tree(t, r.Place())
	_, err := r.Publish(t.Context(), release(t, strangers, "1", "1"))
	wantReason(t, err, ReasonNotEnoughKeys)
	if after := tree(t, r.Place()); !slices.Equal(before, after) {
		t.Error("files appeared before the keys were found missing")
	}
}

// TestSameVersion: a version that differs from another one in its spelling alone
// is the same.
func TestSameVersion(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1.5.0")
	unpointed := release(t, keys, "1.7.0", "1.7.0")
	unpointed.Channel = ""
	if _, err := r.Publish(t.Context(), unpointed); err != nil {
		t.Fatal(err)
	}
	before := tree(t, r.Place())
	for _, c := range []struct{ version, there string }{
		{"1.05.0", "1.5.0"}, {"1.5.0_", "1.5.0"}, {"1_.7.0", "1.7.0"},
	} {
		for _, channel := range []string{"stable", "beta", ""} {
			opts := release(t, keys, c.version, c.there) // the same content
			opts.Channel = channel
			_, err := r.Publish(t.Context(), opts)
			wantReason(t, err, ReasonVersionExists)
			if !strings.Contains(err.Error(), "release "+c.there+" (amd64) is known") {
				t.Errorf("%s: the error does not name %s: %v", c.version, c.there, err)
			}
		}
	}
	if after := tree(t, r.Place()); !slices.Equal(before, after) {
		t.Error("a refused release has left something")
	}
	other := release(t, keys, "1.05.0", "arm")
	other.Arch = "arm64"
	if _, err := r.Publish(t.Context(), other); err != nil {
		t.Errorf("for another architecture: %v", err)
	}
	publish(t, r, keys, "1.5.0") // nothing to do
	publish(t, r, keys, "1.50.0")
}

// TestSameVersionBins: among many releases, those are known that a channel pointed
// to.
func TestSameVersionBins(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1.5.0")
	publish(t, r, keys, "1.6.0")
	addOld(t, r, keys, 100)
	_, err := r.Publish(t.Context(), release(t, keys, "1.05.0", "new"))
	wantReason(t, err, ReasonVersionExists)
}

// TestPublishAgainSpoiled: what was cut short, changed, or replaced by something that
// is no file is put back by the same publication, as what is missing is.
func TestPublishAgainSpoiled(t *testing.T) {
	for what, spoil := range map[string]func(path string, data []byte) error{
		"cut short": func(path string, data []byte) error { return os.WriteFile(path, data[:len(data)/2], 0o600) },
		"changed":   func(path string, data []byte) error { data[0] ^= 1; return os.WriteFile(path, data, 0o600) },
		"gone":      func(path string, _ []byte) error { return os.Remove(path) },
		"a pipe":    func(path string, _ []byte) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
	} {
		r, keys := newRepo(t)
		opts := release(t, keys, "1", "1")
		writeFile(t, opts.Initramfs, string(randomBytes(metadata.MinChunked, 1)))
		p := mustPublish(t, r, opts)
		manifest := metadata.Artifact{Target: metadata.ReleaseTarget("1", "amd64", metadata.ManifestFile), SHA256: string(p.ID)}
		for _, a := range append(p.Release.Targets(), manifest) {
			path := filepath.Join(r.Place(), filepath.FromSlash(targetFile(a.Target, a.SHA256)))
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(path, bytes.Clone(data)); err != nil {
				t.Fatal(err)
			}
			_, err = Verify(t.Context(), r.store, VerifyOptions{Options: at(start)})
			var invalid *InvalidError
			if !errors.As(err, &invalid) || !strings.Contains(invalid.Hint(), "publish the same release again") {
				t.Errorf("%s %s: %v, %+v", a.Target, what, err, invalid)
			}
			if again := mustPublish(t, r, opts); again.Changed || again.ID != p.ID {
				t.Errorf("%s %s: %+v", a.Target, what, again)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) {
				t.Errorf("%s %s was not put back: %v", a.Target, what, err)
			}
		}
	}
}
