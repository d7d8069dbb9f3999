package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
)

// CopyHashed copies r to w and returns the hex SHA-256 and the number of
// bytes. It holds one buffer, however long r is, and ends when ctx does. A block
// is hashed while it is written: neither waits for the other.
func CopyHashed(ctx context.Context, w io.Writer, r io.Reader) (string, int64, error) {
	h := &besides{w: w, h: sha256.New()}
	n, err := io.CopyBuffer(h, &contextReader{ctx, r}, make([]byte, 1<<20))
	return hex.EncodeToString(h.h.Sum(nil)), n, err
}

// besides hashes what it writes, at the same time.
type besides struct {
	w io.Writer
	h hash.Hash
}

func (b *besides) Write(p []byte) (int, error) {
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		_, _ = b.h.Write(p) // never fails
	}()
	n, err := b.w.Write(p)
	<-hashed
	return n, err
}

// contextReader ends when its context does. It also hides WriteTo, with which
// io.CopyBuffer would ignore its buffer.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Bytes returns an open function for Import that gives data.
func Bytes(data []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}
