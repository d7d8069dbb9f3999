package rehearsal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"

	"tufboot/metadata/storage"
)

// Bounds of what is kept in memory, in bytes: a file, as large as metadata may
// be, and all of them.
const (
	maxFile  = 16 << 20
	maxCache = 64 << 20
)

// cached is a store that is asked for each small file once: every client reads
// nearly the same ones, and the store may be far away.
type cached struct {
	storage.Reader
	mu    sync.Mutex
	files map[string]*cachedFile
	size  int
}

type cachedFile struct {
	data []byte
	info storage.Info
	err  error // wraps fs.ErrNotExist
}

func newCached(from storage.Reader) *cached {
	return &cached{Reader: from, files: make(map[string]*cachedFile)}
}

func (c *cached) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	c.mu.Lock()
	f := c.files[name]
	c.mu.Unlock()
	if f == nil {
		data, info, err := storage.ReadFile(ctx, c.Reader, name, maxFile)
		if errors.Is(err, storage.ErrTooLarge) {
			return c.Reader.Open(ctx, name) // the client says what is wrong with it
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, storage.Info{}, err
		}
		info.Size = int64(len(data))
		f = &cachedFile{data, info, err}
		c.mu.Lock()
		if c.files[name] == nil && c.size+len(data) <= maxCache {
			c.files[name] = f
			c.size += len(data)
		}
		c.mu.Unlock()
	}
	if f.err != nil {
		return nil, storage.Info{}, f.err
	}
	return io.NopCloser(bytes.NewReader(f.data)), f.info, nil
}
