package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"gocloud.dev/blob"
)

// Sizes of one upload: what is held in memory is about partSize times partsAtOnce.
const (
	partSize    = 8 << 20
	partsAtOnce = 4
)

// writeKey names the metadata of an object that says by which call it was
// written. The clients of the object stores try again when an answer is lost;
// if the first try had succeeded, the second is refused, because the object is
// there (or changed) now. By this the call knows that it was itself, also when
// somebody else writes the very same content.
const writeKey = "tufbootwrite"

// Create makes an object where there is none; see [Writer].
func (b *Bucket) Create(ctx context.Context, name string, data []byte) error {
	return b.put(ctx, "create", name, data, &blob.WriterOptions{IfNotExist: true}, fs.ErrExist)
}

// Replace replaces an object that still has the version of old; see [Writer].
func (b *Bucket) Replace(ctx context.Context, name string, data []byte, old Info) error {
	const op = "replace"
	opts := &blob.WriterOptions{IfNotExist: old.Name == ""}
	if old.Name != "" {
		if old.Version == "" {
			err := errors.New("the server gives no ETag, so that two writers could not be kept apart")
			return &FileError{Op: op, Name: name, Place: b.place, Err: err}
		}
		opts.BeforeWrite = func(as func(any) bool) error { return b.service.onlyIf(as, old.Version) }
	}
	return b.put(ctx, op, name, data, opts, ErrChanged)
}

// put writes data under the condition in opts and returns lost if the condition
// did not hold.
func (b *Bucket) put(ctx context.Context, op, name string, data []byte, opts *blob.WriterOptions, lost error) error {
	if err := checkName(op, name, b.place); err != nil {
		return err
	}
	id := rand.Text()
	opts.CacheControl, opts.ContentType = CacheControl(name), ContentType(name)
	opts.Metadata = map[string]string{writeKey: id}
	opts.BufferSize, opts.MaxConcurrency = partSize, partsAtOnce
	ctx, watch := newWatch(ctx, b.patience+time.Duration(len(data)/partSize)*b.patience)
	defer watch.end()
	err := b.upload(ctx, name, data, opts)
	if err == nil {
		return nil
	}
	refused := b.refused(err, opts)
	if !refused && !b.unclear(ctx, err) {
		return b.fail(ctx, op, name, err)
	}
	mine, seeErr := b.wrote(ctx, name, data, id)
	switch {
	case seeErr != nil:
		err = fmt.Errorf("it is not known whether this was written: %w; %w", b.explain(ctx, op, err), seeErr)
	case mine:
		return nil
	case refused:
		err = lost
	default:
		err = b.explain(ctx, op, err)
	}
	return &FileError{Op: op, Name: name, Place: b.place, Err: err}
}

// upload sends data, and again while the server says that somebody else is
// writing the object at this moment: the next answer tells who was first.
func (b *Bucket) upload(ctx context.Context, name string, data []byte, opts *blob.WriterOptions) error {
	const tries = 5
	wait := 100 * time.Millisecond
	for try := 1; ; try++ {
		err := b.bucket.Upload(ctx, name, bytes.NewReader(data), opts)
		if err == nil || !b.conflict(err) || try == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// wrote says whether the object is the one that the call with that id wrote. A
// server that keeps no metadata leaves only the content to compare.
func (b *Bucket) wrote(ctx context.Context, name string, data []byte, id string) (bool, error) {
	attr, err := b.bucket.Attributes(ctx, name)
	if err != nil {
		err = b.fail(ctx, "look at", name, err)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	if got, ok := attr.Metadata[writeKey]; ok {
		return got == id, nil
	}
	now, _, err := ReadFile(ctx, b, name, int64(len(data)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrTooLarge) {
		return false, nil
	}
	return err == nil && bytes.Equal(now, data), err
}

// Import hashes what open gives, and uploads it unless it is there; see
// [Writer]. It reads twice, because an object has to be named before its first
// byte is sent, and holds a few pieces of it. If the second reading gives other
// bytes than the first, nothing appears.
func (b *Bucket) Import(ctx context.Context, open func() (io.ReadCloser, error), name func(sum string) string) (string, int64, error) {
	const op = "import"
	sum, length, err := hashAll(ctx, open)
	if err != nil {
		return "", 0, err
	}
	file := name(sum)
	if err := checkName(op, file, b.place); err != nil {
		return "", 0, err
	}
	if there, err := b.there(ctx, file, length); there || err != nil {
		return sum, length, err
	}
	err = b.send(ctx, open, file, sum, length)
	if err == nil {
		return sum, length, nil
	}
	// The answer to the last request may have been lost after the server had
	// done what it said.
	if ctx.Err() == nil && !errors.Is(err, errSource) {
		if there, _ := b.there(ctx, file, length); there {
			return sum, length, nil
		}
	}
	return "", 0, err
}

func (b *Bucket) there(ctx context.Context, name string, length int64) (bool, error) {
	info, err := b.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Size == length, err
}

func (b *Bucket) send(ctx context.Context, open func() (io.ReadCloser, error), name, sum string, length int64) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, watch := newWatch(ctx, b.transfer)
	defer watch.end()
	same := newSameReader(r, sum, length, watch)
	err = b.bucket.Upload(ctx, name, same, &blob.WriterOptions{
		CacheControl: CacheControl(name), ContentType: ContentType(name),
		BufferSize: partSize, MaxConcurrency: partsAtOnce,
	})
	if same.err != nil {
		err = same.err
	} else if err == nil && !same.done {
		err = errors.New("the upload ended before the file did")
	}
	if err != nil {
		return b.fail(ctx, "import", name, err)
	}
	return nil
}

// Remove removes an object; see [Keeper].
func (b *Bucket) Remove(ctx context.Context, name string) error {
	const op = "remove"
	if err := checkName(op, name, b.place); err != nil {
		return err
	}
	ctx, watch := newWatch(ctx, b.patience)
	defer watch.end()
	err := b.bucket.Delete(ctx, name)
	if err == nil {
		return nil
	}
	if err = b.fail(ctx, op, name, err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
