package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/internal/atomicfile"
	"tufboot/metadata/client"
)

// keptRepo is a repository with a rotation, and the folder of a client at its
// newest state.
func keptRepo(t testing.TB) (*repo, client.Options, map[string]string) {
	t.Helper()
	r := newRepo(t, "repo")
	r.rotate(tuf.TIMESTAMP, "timestamp2")
	r.publish()
	opts := options(t, r, fileURL(r))
	c := open(t, opts)
	must(t, c.Refresh(t.Context()))
	_, err := c.Resolve(t.Context(), "stable", "amd64")
	must(t, err)
	return r, opts, folder(t, opts.Dir)
}

// good runs a refresh and a resolution and checks that what is kept then is what
// was kept at first, whatever had become of it in between.
func good(t testing.TB, opts client.Options, want map[string]string) {
	t.Helper()
	c := open(t, opts)
	must(t, c.Refresh(t.Context()))
	_, err := c.Resolve(t.Context(), "stable", "amd64")
	must(t, err)
	got := folder(t, opts.Dir)
	maps.DeleteFunc(got, func(name, _ string) bool { return strings.HasSuffix(name, ".broken") })
	for name, data := range want {
		// Not read while the built-in root has this version.
		if name != "1.root.json" && got[name] != data {
			t.Fatalf("%s is now %q", name, got[name])
		}
	}
}

// memoryDir returns a folder on a file system in memory, where there is one.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tufboot-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestKeptFilesOfEveryLengthHeal(t *testing.T) {
	_, opts, kept := keptRepo(t)
	for name, data := range kept {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := opts
			opts.Dir = memoryDir(t) // thousands of refreshes, each with several fsyncs
			restore(t, opts.Dir, kept)
			path := filepath.Join(opts.Dir, name)
			step := 1
			if testing.Short() {
				step = 16
			}
			for n := 0; n < len(data); n += step {
				must(t, os.WriteFile(path, []byte(data[:n]), 0o600))
				c := refreshed(t, opts)
				if strings.HasPrefix(name, "content") {
					_, err := c.Resolve(t.Context(), "stable", "amd64")
					must(t, err)
				}
				if got, err := os.ReadFile(path); name != "1.root.json" && (err != nil || string(got) != data) {
					t.Fatalf("cut to %d bytes, it is now %q (%v)", n, got, err)
				}
			}
		})
	}
}

func TestKeptFilesHeal(t *testing.T) {
	_, opts, kept := keptRepo(t)
	other := newRepo(t, "other")
	other.rotate(tuf.TIMESTAMP, "timestamp2")
	other.publish()
	otherOpts := options(t, other, fileURL(other))
	c := open(t, otherOpts)
	must(t, c.Refresh(t.Context()))
	foreign := folder(t, otherOpts.Dir)

	write := func(data string) func(string, string) error {
		return func(path, _ string) error { return os.WriteFile(path, []byte(data), 0o600) }
	}
	damages := map[string]func(path, old string) error{
		"missing":    func(path, _ string) error { return os.Remove(path) },
		"null bytes": func(path, old string) error { return os.WriteFile(path, make([]byte, len(old)), 0o600) },
		"zero tail": func(path, old string) error {
			return os.WriteFile(path, append([]byte(old[:len(old)/2]), make([]byte, len(old)-len(old)/2)...), 0o600)
		},
		"twice":       func(path, old string) error { return os.WriteFile(path, []byte(old+old), 0o600) },
		"garbage":     write("\x7fELF garbage"),
		"empty JSON":  write("{}"),
		"JSON null":   write("null"),
		"a list":      write("[]"),
		"no content":  write(`{"signed":null,"signatures":null}`),
		"null target": write(`{"signatures":[],"signed":{"_type":"targets","targets":{"x":null}}}`),
		"huge":        func(path, _ string) error { return os.WriteFile(path, bytes.Repeat([]byte(" "), 17<<20), 0o600) },
		"a folder": func(path, _ string) error {
			return errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "sub"), 0o700))
		},
		"a pipe":            func(path, _ string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"a dangling link":   func(path, _ string) error { return errors.Join(os.Remove(path), os.Symlink("nowhere", path)) },
		"a link to itself":  func(path, _ string) error { return errors.Join(os.Remove(path), os.Symlink(path, path)) },
		"another signature": func(path, old string) error { return os.WriteFile(path, []byte(spoilSignature(old)), 0o600) },
		"other repository": func(path, old string) error {
			if data := foreign[filepath.Base(path)]; data != "" {
				old = data
			}
			return os.WriteFile(path, []byte(old), 0o600)
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			for file, old := range kept {
				restore(t, opts.Dir, kept)
				must(t, damage(filepath.Join(opts.Dir, file), old))
				good(t, opts, kept)
			}
			// All of them at once.
			restore(t, opts.Dir, kept)
			for file, old := range kept {
				must(t, damage(filepath.Join(opts.Dir, file), old))
			}
			good(t, opts, kept)
		})
	}
}

// spoilSignature changes one digit of each signature.
func spoilSignature(data string) string {
	parts := strings.Split(data, `"sig":"`)
	for i := 1; i < len(parts); i++ {
		digit := "0"
		if parts[i][0] == '0' {
			digit = "1"
		}
		parts[i] = digit + parts[i][1:]
	}
	return strings.Join(parts, `"sig":"`)
}

func TestLostFolder(t *testing.T) {
	_, opts, kept := keptRepo(t)
	must(t, os.RemoveAll(opts.Dir))
	good(t, opts, kept)
}

// What was set aside is kept for a look, but not for ever.
func TestSetAsideIsBounded(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	for i := range 3 * client.MaxBroken {
		r.signRoot()
		must(t, refresh(t, opts))
		must(t, os.WriteFile(filepath.Join(opts.Dir, fmt.Sprintf("%d.root.json", i+2)), nil, 0o600))
	}
	must(t, refresh(t, opts))
	broken, err := filepath.Glob(filepath.Join(opts.Dir, "*.broken"))
	must(t, err)
	if len(broken) == 0 || len(broken) > client.MaxBroken {
		t.Errorf("%d files set aside, want 1 to %d", len(broken), client.MaxBroken)
	}
}

func TestContentIsBounded(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	for i := range client.MaxContent + 3 {
		r.release(fmt.Sprintf("v%d", i+2), "stable")
		c := open(t, opts)
		must(t, c.Refresh(t.Context()))
		_, err := c.Resolve(t.Context(), "stable", "amd64")
		must(t, err)
	}
	entries, err := os.ReadDir(filepath.Join(opts.Dir, "content"))
	must(t, err)
	if len(entries) != client.MaxContent {
		t.Errorf("%d files, want %d", len(entries), client.MaxContent)
	}
}

// The process dies before each change of the folder in turn, with a temporary
// file half written: what was accepted stays accepted, and the next refresh
// succeeds.
func TestDeathBetweenAnyTwoWrites(t *testing.T) {
	starts := map[string]func(r *repo, opts client.Options){
		"fresh": func(*repo, client.Options) {},
		"new release": func(r *repo, opts client.Options) {
			must(t, refresh(t, opts))
			r.release("v2", "stable")
		},
		"rotated keys": func(r *repo, opts client.Options) {
			must(t, refresh(t, opts))
			r.rotate(tuf.ROOT, "root2")
			r.rotate(tuf.TIMESTAMP, "timestamp2")
			r.rotate(tuf.SNAPSHOT, "snapshot2")
			r.release("v2", "stable")
		},
		"damaged": func(r *repo, opts client.Options) {
			r.rotate(tuf.ROOT, "root2")
			must(t, refresh(t, opts))
			for _, name := range []string{"2.root.json", "timestamp.json", "snapshot.json", "targets.json", "clock.json"} {
				must(t, os.WriteFile(filepath.Join(opts.Dir, name), []byte("{"), 0o600))
			}
		},
	}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t, "repo")
			opts := options(t, r, fileURL(r))
			start(r, opts)
			before := folder(t, opts.Dir)
			deaths := 0
			for step := 0; ; step++ {
				restore(t, opts.Dir, before)
				if !dieAt(t, opts, step) {
					break
				}
				deaths++
				must(t, os.WriteFile(filepath.Join(opts.Dir, atomicfile.TempPrefix+"1"), []byte("{"), 0o600))
				afterwards(t, r, opts)
			}
			if deaths < 2 {
				t.Errorf("died %d times: nothing is tested", deaths)
			}
		})
	}
}

// dieAt refreshes until the given change of the folder, and reports whether
// there was such a one.
func dieAt(t testing.TB, opts client.Options, step int) bool {
	t.Helper()
	died := errors.New("died")
	c := open(t, opts)
	n := 0
	c.Fault(func(string, string) error {
		n++
		if n > step {
			return died
		}
		return nil
	})
	before, err := client.LocalTrust(opts)
	must(t, err)
	err = c.Refresh(t.Context())
	after, trustErr := client.LocalTrust(opts)
	must(t, trustErr)
	if wentBack(before, after) {
		t.Errorf("step %d: from %+v to %+v", step, before, after)
	}
	if err != nil && !errors.Is(err, died) {
		t.Fatal(err)
	}
	return err != nil
}

// afterwards checks that the next refresh ends at the repository's state.
func afterwards(t testing.TB, r *repo, opts client.Options) {
	t.Helper()
	must(t, refresh(t, opts))
	trust, err := client.LocalTrust(opts)
	must(t, err)
	got := []int64{trust.Root.Version, trust.Timestamp.Version, trust.Snapshot.Version, trust.Targets.Version}
	want := []int64{r.version[tuf.ROOT], r.version[tuf.TIMESTAMP], r.version[tuf.SNAPSHOT], r.version[tuf.TARGETS]}
	if !slices.Equal(got, want) {
		t.Errorf("kept versions %v, want %v", got, want)
	}
	left, err := filepath.Glob(filepath.Join(opts.Dir, atomicfile.TempPrefix+"*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// Damage to one kept file must not lower the floor that the others hold.
func TestDamageDoesNotOpenRollback(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	old := snapshotOf(t, r)
	r.release("v2", "stable")
	r.release("v3", "stable")
	must(t, refresh(t, opts))
	kept := folder(t, opts.Dir)
	restoreRepo(t, r, old)
	for name := range kept {
		if name == "1.root.json" || strings.HasPrefix(name, "content") {
			continue
		}
		restore(t, opts.Dir, kept)
		must(t, os.WriteFile(filepath.Join(opts.Dir, name), nil, 0o600))
		wantReason(t, refresh(t, opts), client.ReasonRollback)
	}
}

// snapshotOf remembers a repository's metadata, restoreRepo brings it back.
func snapshotOf(t testing.TB, r *repo) map[string]string {
	t.Helper()
	return folder(t, r.metadata(""))
}

func restoreRepo(t testing.TB, r *repo, content map[string]string) {
	t.Helper()
	restore(t, r.metadata(""), content)
}

func TestFolderThatCannotBeMade(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	must(t, os.WriteFile(opts.Dir, nil, 0o600))
	if err := refresh(t, opts); err == nil {
		t.Error("refreshed into a file")
	}
}

func TestFolderIsPrivate(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	must(t, refresh(t, opts))
	info, err := os.Stat(opts.Dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("permissions %v", info.Mode())
	}
}

// One refresh at a time: the second waits, and gives up with its context.
func TestOneRefreshAtATime(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	must(t, refresh(t, opts))
	r.publish()

	inside, leave := make(chan struct{}), make(chan struct{})
	first := open(t, opts)
	first.Fault(func(op, _ string) error {
		if op == "write" {
			inside <- struct{}{}
			<-leave
		}
		return nil
	})
	done := make(chan error)
	go func() { done <- first.Refresh(context.Background()) }()
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := open(t, opts).Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second refresh: %v", err)
	}
	go func() {
		for range inside { // the writes after the first
		}
	}()
	close(leave)
	must(t, <-done)
	close(inside)
	must(t, refresh(t, opts))
}
