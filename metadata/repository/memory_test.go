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
	"strconv"
	"strings"
	"sync"

	"tufboot/metadata/storage"
)

// memory is a store like a bucket: it has no lock, and compares when it writes.
type memory struct {
	mu      sync.Mutex
	files   map[string][]byte
	written map[string]int
}

// newMemory returns a store with the files of another one.
func newMemory(from *memory) *memory {
	m := &memory{files: make(map[string][]byte), written: make(map[string]int)}
	if from != nil {
		maps.Copy(m.files, from.files)
		maps.Copy(m.written, from.written)
	}
	return m
}

func (m *memory) String() string { return "memory" }

func (m *memory) Open(_ context.Context, name string) (io.ReadCloser, storage.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[name]
	if !ok {
		return nil, storage.Info{}, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(data)), m.info(name), nil
}

func (m *memory) info(name string) storage.Info {
	return storage.Info{Name: name, Size: int64(len(m.files[name])), Version: strconv.Itoa(m.written[name])}
}

func (m *memory) Stat(_ context.Context, name string) (storage.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.files[name]; !ok {
		return storage.Info{}, fmt.Errorf("stat %s: %w", name, fs.ErrNotExist)
	}
	return m.info(name), nil
}

func (m *memory) List(_ context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		m.mu.Lock()
		names := slices.Sorted(maps.Keys(m.files))
		m.mu.Unlock()
		for _, name := range names {
			if strings.HasPrefix(name, prefix) && !yield(m.info(name), nil) {
				return
			}
		}
	}
}

func (m *memory) Create(_ context.Context, name string, data []byte) error {
	return m.write("create", name, data, func() error {
		if _, ok := m.files[name]; ok {
			return fs.ErrExist
		}
		return nil
	})
}

func (m *memory) Replace(_ context.Context, name string, data []byte, old storage.Info) error {
	return m.write("replace", name, data, func() error {
		_, ok := m.files[name]
		if ok != (old.Name != "") || ok && m.info(name).Version != old.Version {
			return storage.ErrChanged
		}
		return nil
	})
}

func (m *memory) Import(ctx context.Context, open func() (io.ReadCloser, error), name func(string) string) (string, int64, error) {
	r, err := open()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	hash := sha256.Sum256(data)
	sum := hex.EncodeToString(hash[:])
	return sum, int64(len(data)), m.write("import", name(sum), data, func() error { return nil })
}

func (m *memory) write(op, name string, data []byte, allowed func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := allowed(); err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	m.files[name] = bytes.Clone(data)
	m.written[name]++
	return nil
}

func (m *memory) Remove(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

func (m *memory) Lock(context.Context) (func(), error) {
	return func() {}, nil
}

var _ storage.Store = (*memory)(nil)
