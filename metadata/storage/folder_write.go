package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tufboot/internal/atomicfile"
)

// Create makes a file; see [Writer].
func (f *Folder) Create(ctx context.Context, name string, data []byte) error {
	return f.put(ctx, "create", name, data, func() error {
		_, err := os.Lstat(f.path(name))
		if err == nil {
			return fs.ErrExist
		} else if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// Replace makes or replaces a file; see [Writer].
func (f *Folder) Replace(ctx context.Context, name string, data []byte, old Info) error {
	return f.put(ctx, "replace", name, data, func() error {
		now, err := f.Stat(ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && old.Name == "":
			return nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err != nil, old.Name == "", now.Version != old.Version:
			return ErrChanged
		}
		return nil
	})
}

// put writes a file if allowed returns nil. Nobody else in this program's
// processes writes between that and the renaming.
func (f *Folder) put(ctx context.Context, op, name string, data []byte, allowed func() error) error {
	if err := checkName(op, name, f.dir); err != nil {
		return err
	}
	unlock, err := f.lockWrites(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := allowed(); err != nil {
		return &FileError{Op: op, Name: name, Place: f.dir, Err: err}
	}
	return f.create(func(w io.Writer) (string, error) {
		_, err := w.Write(data)
		return name, err
	})
}

// errThere ends an import of what is there already.
var errThere = errors.New("is there")

// Import copies and hashes in one pass; see [Writer].
func (f *Folder) Import(ctx context.Context, open func() (io.ReadCloser, error), name func(sum string) string) (sum string, length int64, err error) {
	r, err := open()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	err = f.create(func(w io.Writer) (string, error) {
		if sum, length, err = CopyHashed(ctx, w, r); err != nil {
			return "", err
		}
		file := name(sum)
		if err := checkName("import", file, f.dir); err != nil {
			return "", err
		}
		if there, err := f.Stat(ctx, file); err == nil && there.Size == length {
			return "", errThere
		}
		return file, ctx.Err()
	})
	if err != nil && !errors.Is(err, errThere) {
		return "", 0, err
	}
	return sum, length, nil
}

// create writes a file whose name fill returns.
func (f *Folder) create(fill func(io.Writer) (name string, err error)) error {
	if err := atomicfile.MkdirAll(f.path(WorkDir), 0o755); err != nil {
		return err
	}
	return atomicfile.WriteNamed(f.path(WorkDir), 0o644, func(w io.Writer) (string, error) {
		name, err := fill(w)
		if err != nil {
			return "", err
		}
		return f.path(name), atomicfile.MkdirAll(filepath.Dir(f.path(name)), 0o755)
	})
}

// Lock takes the lock file, which the kernel frees when the process ends,
// however it ends; see [Keeper]. It removes what a crashed writer left.
func (f *Folder) Lock(context.Context) (func(), error) {
	unlock, err := f.flock(editLock)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.RemoveTemp(f.path(WorkDir)); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// lockWrites waits until no other process is writing a file, which takes it a
// moment.
func (f *Folder) lockWrites(ctx context.Context) (unlock func(), err error) {
	const moment, interval = 30 * time.Second, 5 * time.Millisecond
	for end := time.Now().Add(moment); ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		unlock, err := f.flock(writeLock)
		if !errors.Is(err, ErrLocked) || time.Now().After(end) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(interval):
		}
	}
}

// flock takes a lock, or returns an error that wraps ErrLocked at once.
func (f *Folder) flock(name string) (unlock func(), err error) {
	if err := atomicfile.MkdirAll(f.path(WorkDir), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(f.path(name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock repository: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, &FileError{Op: "lock", Name: name, Place: f.dir, Err: err}
	}
	return func() { lock.Close() }, nil
}
