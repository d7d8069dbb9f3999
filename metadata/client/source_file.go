package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fileSource reads a repository from a folder: a USB stick, a mounted share.
type fileSource struct{ dir string }

func (s *fileSource) open(ctx context.Context, name string, offset, end int64) (*content, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	failed := func(err error) error {
		e := &NetworkError{Reason: ReasonServerError, URL: "file://" + path, Err: err}
		if errors.Is(err, fs.ErrNotExist) {
			e.Status = http.StatusNotFound
			if _, gone := os.Stat(s.dir); gone != nil {
				e.Status, e.Reason = 0, ReasonUnreachable
				e.Advice = "The folder with the repository is not there: is it mounted?"
			}
		}
		return e
	}
	// Non-blocking: opening a FIFO would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, failed(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil && (offset > info.Size() || end > info.Size()) {
		f.Close()
		return nil, errNoRange
	}
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, failed(err)
	}
	body := &fileBody{File: f, ctx: ctx, failed: failed, rest: f}
	if end >= 0 {
		body.rest = io.LimitReader(f, end-offset)
	}
	return &content{body: body, start: offset, total: info.Size(), part: offset > 0 || end >= 0}, nil
}

// fileBody is an open file that ends with its context, or where the part ends
// that was asked for.
type fileBody struct {
	*os.File
	ctx    context.Context
	failed func(error) error
	rest   io.Reader // of File
}

func (b *fileBody) Read(p []byte) (int, error) {
	n, err := contextReader{b.ctx, b.rest}.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && b.ctx.Err() == nil {
		err = b.failed(err)
	}
	return n, err
}

// contextReader ends with its context, between two reads.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}
