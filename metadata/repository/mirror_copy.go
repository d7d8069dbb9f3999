package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync"

	"golang.org/x/sync/errgroup"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// copyAll brings to the destination what the states of the steps name. Readers
// know nothing of it yet.
func (m *mirror) copyAll(ctx context.Context, there *destination, steps []mirrorStep, result *Mirrored) error {
	seen := make(map[string]bool)
	var all transfer
	for _, s := range steps {
		if s.state == nil {
			continue
		}
		t, err := m.transfer(ctx, there, s.state, seen)
		if err != nil {
			return err
		}
		all.targets = append(all.targets, t.targets...)
		all.files = append(all.files, t.files...)
	}
	c := &copier{from: m.from, to: m.to, progress: m.opts.Progress}
	var jobs []func(context.Context) error
	for _, a := range all.targets {
		c.total += a.Length
		jobs = append(jobs, func(ctx context.Context) error { return c.target(ctx, a) })
	}
	for _, f := range all.files {
		jobs = append(jobs, func(ctx context.Context) error { return m.createSame(ctx, f) })
	}
	err := inParallel(ctx, m.opts.Parallel, jobs)
	result.Targets, result.Bytes = c.copied, c.bytes
	return err
}

// createSame makes a numbered file, which may be there with the same content.
func (m *mirror) createSame(ctx context.Context, f file) error {
	err := m.to.Create(ctx, f.name, f.data)
	if err == nil {
		m.logger.Info("wrote", "file", f.name)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	data, _, err := storage.ReadFile(ctx, m.to, f.name, maxMetadata)
	if err == nil && !bytes.Equal(data, f.data) || errors.Is(err, storage.ErrTooLarge) {
		return refuseFork(m.to, f.name)
	}
	return err
}

// copier copies targets. Its methods may be called by several goroutines.
type copier struct {
	from     storage.Reader
	to       storage.Store
	progress func(done, total int64)
	total    int64

	mu     sync.Mutex
	done   int64
	copied int
	bytes  int64
}

// target copies one target, unless a file of its name and length is there.
func (c *copier) target(ctx context.Context, a metadata.Artifact) error {
	name := targetFile(a.Target, a.SHA256)
	there, err := c.to.Stat(ctx, name)
	if err == nil && there.Size == a.Length {
		c.advance(a.Length)
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A bucket opens twice; the second time shows no progress that was shown.
	var most int64
	open := func() (io.ReadCloser, error) {
		return openTarget(ctx, c.from, a, func(done int64) {
			if done > most {
				c.advance(done - most)
				most = done
			}
		})
	}
	if _, _, err := c.to.Import(ctx, open, func(string) string { return name }); err != nil {
		return fmt.Errorf("copy target %s: %w", a.Target, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.copied++
	c.bytes += a.Length
	return nil
}

func (c *copier) advance(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.progress != nil {
		c.progress(c.done, c.total)
	}
}

// openTarget opens the bytes of a target so that they end well only if they are
// what was signed. progress may be nil.
func openTarget(ctx context.Context, from storage.Reader, a metadata.Artifact, progress func(done int64)) (io.ReadCloser, error) {
	r, _, err := from.Open(ctx, targetFile(a.Target, a.SHA256))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, invalid("it is missing: %w", err)
	} else if err != nil {
		return nil, err
	}
	return &checkedTarget{r: r, want: a, hash: sha256.New(), progress: progress}, nil
}

// checkedTarget reads a target. Where its end should be said, it says an error if
// length or hash are wrong, so that no copy of it is completed.
type checkedTarget struct {
	r        io.ReadCloser
	want     metadata.Artifact
	hash     hash.Hash
	done     int64
	err      error
	progress func(done int64)
}

func (c *checkedTarget) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.hash.Write(p[:n])
	c.done += int64(n)
	end := errors.Is(err, io.EOF)
	switch {
	case c.done > c.want.Length, end && c.done < c.want.Length:
		c.err = &InvalidError{Reason: "bad-length", Err: fmt.Errorf("it does not have %d bytes", c.want.Length)}
	case end && hex.EncodeToString(c.hash.Sum(nil)) != c.want.SHA256:
		c.err = &InvalidError{Reason: "bad-hash", Err: fmt.Errorf("its SHA-256 is not %s", c.want.SHA256)}
	default:
		c.err = err
	}
	if c.err != nil && !end {
		return 0, c.err
	}
	if n > 0 && c.progress != nil {
		c.progress(c.done)
	}
	return n, c.err
}

func (c *checkedTarget) Close() error { return c.r.Close() }

// inParallel runs jobs, at most n at once, until all are done or one has failed.
func inParallel(ctx context.Context, n int, jobs []func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(n)
	for _, job := range jobs {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return job(ctx)
		})
	}
	return group.Wait()
}
