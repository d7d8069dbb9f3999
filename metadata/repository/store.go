package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tufboot/internal/atomicfile"
)

// store is where a repository's files lie. Names are relative, with slashes.
// A file that appears is whole and durable.
type store interface {
	// Read returns a file's content; errors wrap fs.ErrNotExist.
	Read(name string) ([]byte, error)
	// Size returns a file's length in bytes; errors wrap fs.ErrNotExist.
	Size(name string) (int64, error)
	// Write makes or replaces a file.
	Write(name string, data []byte) error
	// Import copies r to the file that name gives for the hex SHA-256 of the
	// bytes, and returns that and their number.
	Import(r io.Reader, name func(sum string) string) (sum string, length int64, err error)
	// Lock keeps other writers out until the returned function is called.
	Lock() (unlock func(), err error)
}

// folder is a store in a folder of a local file system.
type folder struct{ dir string }

func (f folder) path(name string) string {
	return filepath.Join(f.dir, filepath.FromSlash(name))
}

func (f folder) Read(name string) ([]byte, error) { return os.ReadFile(f.path(name)) }

func (f folder) Size(name string) (int64, error) {
	info, err := os.Stat(f.path(name))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f folder) Write(name string, data []byte) error {
	return f.create(func(w io.Writer) (string, error) {
		_, err := w.Write(data)
		return name, err
	})
}

func (f folder) Import(r io.Reader, name func(sum string) string) (sum string, length int64, err error) {
	err = f.create(func(w io.Writer) (string, error) {
		if sum, length, err = copyHashed(w, r); err != nil {
			return "", err
		}
		return name(sum), nil
	})
	return sum, length, err
}

// create writes a file whose name fill returns.
func (f folder) create(fill func(io.Writer) (name string, err error)) error {
	return atomicfile.WriteNamed(f.path(workDir), 0o644, func(w io.Writer) (string, error) {
		name, err := fill(w)
		if err != nil {
			return "", err
		}
		return f.path(name), atomicfile.MkdirAll(filepath.Dir(f.path(name)), 0o755)
	})
}

func (f folder) Lock() (func(), error) {
	if err := atomicfile.MkdirAll(f.path(workDir), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(f.path(workDir+"/lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock repository: %w", err)
	}
	// The kernel frees the lock when the process ends, however it ends.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, refuse(ReasonLocked, "wait for the other command to end, then run this one again",
				"repository %s is being edited by another process", f.dir)
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	unlock := func() { lock.Close() }
	if err := atomicfile.RemoveTemp(f.path(workDir)); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// copyHashed copies r to w and returns the hex SHA-256 and the number of
// bytes. It holds one buffer, however long r is.
func copyHashed(w io.Writer, r io.Reader) (string, int64, error) {
	h := sha256.New()
	// A large buffer keeps the disk busy while the hash is computed.
	n, err := io.CopyBuffer(io.MultiWriter(w, h), onlyReader{r}, make([]byte, 1<<20))
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// onlyReader hides WriteTo, with which io.CopyBuffer would ignore its buffer.
type onlyReader struct{ io.Reader }

// source reads a file, reports progress and ends when ctx does.
type source struct {
	ctx      context.Context
	r        io.Reader
	done     int64
	progress func(done int64)
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	s.done += int64(n)
	if s.progress != nil && n > 0 {
		s.progress(s.done)
	}
	return n, err
}

func exists(s store, name string) (bool, error) {
	_, err := s.Size(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
