package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sync"
	"syscall"
	"testing"

	"tufboot/internal/console"
	"tufboot/metadata/storage"
)

// hooked is a store that asks before each call whether it may be made, and
// after each one that has written something.
type hooked struct {
	storage.Store
	before, after func(op string) error
	mu            sync.Mutex // one question at a time: a command may do several things at once
}

func (h *hooked) ask(op string) error {
	if h.before == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.before(op)
}

func (h *hooked) write(op string, do func() error) error {
	if err := h.ask(op); err != nil {
		return err
	}
	if err := do(); err != nil || h.after == nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.after(op)
}

func (h *hooked) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	if err := h.ask("open"); err != nil {
		return nil, storage.Info{}, err
	}
	return h.Store.Open(ctx, name)
}

func (h *hooked) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := h.ask("stat"); err != nil {
		return storage.Info{}, err
	}
	return h.Store.Stat(ctx, name)
}

func (h *hooked) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	if err := h.ask("list"); err != nil {
		return func(yield func(storage.Info, error) bool) { yield(storage.Info{}, err) }
	}
	return h.Store.List(ctx, prefix)
}

func (h *hooked) Create(ctx context.Context, name string, data []byte) error {
	return h.write("create", func() error { return h.Store.Create(ctx, name, data) })
}

func (h *hooked) Replace(ctx context.Context, name string, data []byte, old storage.Info) error {
	return h.write("replace", func() error { return h.Store.Replace(ctx, name, data, old) })
}

func (h *hooked) Import(ctx context.Context, open func() (io.ReadCloser, error), name func(string) string) (sum string, length int64, err error) {
	err = h.write("import", func() error {
		var err error
		sum, length, err = h.Store.Import(ctx, open, name)
		return err
	})
	return sum, length, err
}

func (h *hooked) Remove(ctx context.Context, name string) error {
	return h.write("remove", func() error { return h.Store.Remove(ctx, name) })
}

func (h *hooked) Lock(ctx context.Context) (func(), error) {
	if err := h.ask("lock"); err != nil {
		return nil, err
	}
	return h.Store.Lock(ctx)
}

// command is something that is done to a repository which has release 1.0.
type command struct {
	name string
	do   func(ctx context.Context, r *Repository) error
	// done reports whether readers see it.
	done func(st *state, releases []string) bool
}

func commands(t *testing.T, keys Signers) map[string]command {
	opts := release(t, keys, "2.0", "2.0")
	return map[string]command{
		"publish": {"publish", func(ctx context.Context, r *Repository) error {
			_, err := r.Publish(ctx, opts)
			return err
		}, func(_ *state, releases []string) bool { return slices.Contains(releases, "2.0") }},
		"refresh all": {"refresh all", func(ctx context.Context, r *Repository) error {
			_, err := r.Refresh(ctx, RefreshOptions{Keys: keys, All: true})
			return err
		}, func(st *state, _ []string) bool { return st.snapshot.Signed.Version > 2 }},
	}
}

// memoryRepo makes a repository with release 1.0 in memory.
func memoryRepo(t *testing.T) (m *memStore, keysDir string) {
	t.Helper()
	roles, keys, keysDir := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 2, RootThreshold: 2})
	m = newMemStore()
	r, err := Create(t.Context(), m, CreateOptions{Options: at(start), Roles: roles, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, r, keys, "1.0")
	return m, keysDir
}

// reopened are the keys in a folder for one of several tests that run at the same
// time.
func reopened(t *testing.T, keysDir string) *KeyDir {
	t.Helper()
	keys, err := OpenKeys([]string{keysDir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// seen reads a store as a new client does, and returns what it finds.
func seen(t *testing.T, s storage.Reader) (*state, []string) {
	t.Helper()
	if _, err := Verify(t.Context(), s, VerifyOptions{Options: at(start)}); err != nil {
		t.Fatalf("a client fails: %v", err)
	}
	st, err := load(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := st.all(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var releases []string
	for _, e := range entries {
		if version, _, ok := manifestOf(e.Target); ok {
			releases = append(releases, version)
		}
	}
	return st, releases
}

// TestFailingStore lets each operation of each command fail, one in each run:
// readers see the old state or, where the last write was done and its answer
// lost, the new one; and the command, run again, completes.
func TestFailingStore(t *testing.T) {
	template, keysDir := memoryRepo(t)
	faults := []struct {
		name   string
		err    error
		after  bool // the store has done it all the same
		writes bool // only what writes
	}{
		{"full disk", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, false, true},
		{"403", fmt.Errorf("access denied: %w", fs.ErrPermission), false, false},
		{"500", errors.New("the server failed"), false, false},
		{"500, and it was done", errors.New("the server failed"), true, true},
	}
	for _, c := range []string{"publish", "refresh all"} {
		for _, fault := range faults {
			t.Run(c+"/"+fault.name, func(t *testing.T) {
				t.Parallel()
				c := commands(t, reopened(t, keysDir))[c]
				for at := 0; failOne(t, template, c, fault.err, fault.after, fault.writes, at); at++ {
				}
			})
		}
	}
}

// failOne lets the operation of that number fail, and returns false if there
// are not that many.
func failOne(t *testing.T, template *memStore, c command, fault error, after, writes bool, number int) bool {
	t.Helper()
	m := template.clone()
	count, what := 0, ""
	hook := func(op string) error {
		if writes && (op == "open" || op == "stat" || op == "list" || op == "lock") {
			return nil
		}
		if count++; count-1 == number {
			what = op
			return fault
		}
		return nil
	}
	h := &hooked{Store: m, before: hook}
	if after {
		h.before, h.after = nil, hook
	}
	err := c.do(t.Context(), newRepository(h, at(start)))
	if what == "" {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	st, releases := seen(t, m)
	done := c.done(st, releases)
	// The answer to the last write is lost, or that of reading it again.
	lost := after && what == "replace" || what == "open"
	switch {
	case err == nil && !done:
		t.Errorf("%d (%s): it says that it is done, and it is not", number, what)
	case err != nil && done && !lost:
		t.Errorf("%d (%s): it was done, and it says %v", number, what, err)
	case err != nil && (!errors.Is(err, fault) || console.ExitCode(err) != console.ExitFailed):
		t.Errorf("%d (%s): exit code %d, %v", number, what, console.ExitCode(err), err)
	}
	if err := c.do(t.Context(), newRepository(m, at(start))); err != nil {
		t.Errorf("%d (%s): again: %v", number, what, err)
	}
	if st, releases := seen(t, m); !c.done(st, releases) {
		t.Errorf("%d (%s): the second run did not complete it", number, what)
	}
	return true
}

// unlocked is a folder whose lock does not reach the other machine.
type unlocked struct{ *storage.Folder }

func (unlocked) Lock(context.Context) (func(), error) { return func() {}, nil }

// TestManyPublishers really runs at the same time, in one folder: whoever is told
// tries again, and in the end all is there.
func TestManyPublishers(t *testing.T) {
	dir := t.TempDir()
	roles, keys, keysDir := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
	if _, err := Create(t.Context(), storage.NewFolder(dir), CreateOptions{Options: at(start), Roles: roles, Keys: keys}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 4 {
		opts := release(t, reopened(t, keysDir), fmt.Sprintf("1.%d", n), "x")
		opts.Channel = fmt.Sprintf("channel%d", n)
		wg.Go(func() {
			for {
				_, err := newRepository(storage.NewFolder(dir), at(start)).Publish(t.Context(), opts)
				if err == nil {
					return
				}
				if reason := console.ReasonCode(err); reason != ReasonLocked {
					t.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if _, releases := seen(t, storage.NewFolder(dir)); len(releases) != 4 {
		t.Errorf("there is %q", releases)
	}
}
