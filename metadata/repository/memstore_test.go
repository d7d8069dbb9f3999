package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tufboot/metadata/storage"
)

// memStore is a store in memory that does what a bucket does, with a clock that
// can be set, and counts.
type memStore struct {
	mu     sync.Mutex
	files  map[string]memFile
	now    time.Time
	serial int
	opens  map[string]int // how often a file was read
	stats  int
	// before is called before each write and removal, with no lock held; an error
	// is returned instead. after is called when it is done.
	before func(op, name string) error
	after  func(op, name string)
	// read is called before each Open.
	read func(name string)
}

type memFile struct {
	data     []byte
	modified time.Time
	version  string
}

func newMemStore() *memStore {
	return &memStore{files: make(map[string]memFile), now: start, opens: make(map[string]int)}
}

func (s *memStore) String() string { return "memory" }

func (s *memStore) info(name string, f memFile) storage.Info {
	return storage.Info{Name: name, Size: int64(len(f.data)), Modified: f.modified, Version: f.version}
}

func (s *memStore) get(name string) (memFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files[name]
	if !ok {
		return f, &storage.FileError{Op: "open", Name: name, Place: "memory", Err: fs.ErrNotExist}
	}
	return f, nil
}

func (s *memStore) Open(_ context.Context, name string) (io.ReadCloser, storage.Info, error) {
	if s.read != nil {
		s.read(name)
	}
	s.mu.Lock()
	s.opens[name]++
	s.mu.Unlock()
	f, err := s.get(name)
	if err != nil {
		return nil, storage.Info{}, err
	}
	return io.NopCloser(bytes.NewReader(f.data)), s.info(name, f), nil
}

func (s *memStore) Stat(_ context.Context, name string) (storage.Info, error) {
	s.mu.Lock()
	s.stats++
	s.mu.Unlock()
	f, err := s.get(name)
	return s.info(name, f), err
}

func (s *memStore) List(_ context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		s.mu.Lock()
		files := maps.Clone(s.files)
		s.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if strings.HasPrefix(name, prefix) && !yield(s.info(name, files[name]), nil) {
				return
			}
		}
	}
}

// write changes the store by do, which holds the lock.
func (s *memStore) write(op, name string, do func() error) error {
	if s.before != nil {
		if err := s.before(op, name); err != nil {
			return err
		}
	}
	s.mu.Lock()
	err := do()
	s.mu.Unlock()
	if err == nil && s.after != nil {
		s.after(op, name)
	}
	return err
}

func (s *memStore) put(name string, data []byte) {
	s.serial++
	s.files[name] = memFile{bytes.Clone(data), s.now, fmt.Sprint(s.serial)}
}

func (s *memStore) Create(_ context.Context, name string, data []byte) error {
	return s.write("create", name, func() error {
		if _, ok := s.files[name]; ok {
			return &storage.FileError{Op: "create", Name: name, Place: "memory", Err: fs.ErrExist}
		}
		s.put(name, data)
		return nil
	})
}

func (s *memStore) Replace(_ context.Context, name string, data []byte, old storage.Info) error {
	return s.write("replace", name, func() error {
		if s.files[name].version != old.Version {
			return &storage.FileError{Op: "replace", Name: name, Place: "memory", Err: storage.ErrChanged}
		}
		s.put(name, data)
		return nil
	})
}

// Import reads twice, as a bucket does.
func (s *memStore) Import(_ context.Context, open func() (io.ReadCloser, error), name func(string) string) (string, int64, error) {
	var data []byte
	for range 2 {
		r, err := open()
		if err != nil {
			return "", 0, err
		}
		data, err = io.ReadAll(r)
		r.Close()
		if err != nil {
			return "", 0, err
		}
	}
	sum := sha256.Sum256(data)
	file := name(hex.EncodeToString(sum[:]))
	return hex.EncodeToString(sum[:]), int64(len(data)), s.write("import", file, func() error {
		if len(s.files[file].data) != len(data) {
			s.put(file, data)
		}
		return nil
	})
}

func (s *memStore) Lock(context.Context) (func(), error) { return func() {}, nil }

func (s *memStore) Remove(_ context.Context, name string) error {
	return s.write("remove", name, func() error {
		delete(s.files, name)
		return nil
	})
}

// clone returns another store with the same files.
func (s *memStore) clone() *memStore {
	c := newMemStore()
	c.files, c.now, c.serial = maps.Clone(s.files), s.now, s.serial
	return c
}

// names returns the names of files that start with a prefix.
func (s *memStore) names(prefix string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// forget starts the counts anew.
func (s *memStore) forget() { s.opens, s.stats = make(map[string]int), 0 }

var _ storage.Store = (*memStore)(nil)

// readOnly is a source that cannot be listed, as a web server.
type readOnly struct{ storage.Reader }

// memRepo makes a repository in memory.
func memRepo(t testing.TB) (*Repository, *memStore, Signers) {
	t.Helper()
	dir := t.TempDir()
	roles, err := MakeKeys(dir, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := OpenKeys([]string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	store := newMemStore()
	clock := Options{Now: func() time.Time { return store.now }}
	r, err := Create(t.Context(), store, CreateOptions{Options: clock, Roles: roles, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return r, store, keys
}

// wantSame checks that a mirror has every file that its metadata names, and that
// every file of it is one of the source.
func wantSame(t *testing.T, from, to *memStore) {
	t.Helper()
	for _, name := range to.names("") {
		if strings.HasPrefix(name, storage.WorkDir) {
			continue
		}
		if !bytes.Equal(to.files[name].data, from.files[name].data) {
			t.Errorf("%s is not the source's", name)
		}
	}
	if _, err := Verify(t.Context(), to, VerifyOptions{Options: at(to.now)}); err != nil {
		t.Errorf("the mirror does not verify: %v", err)
	}
}
