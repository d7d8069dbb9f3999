package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tufboot/internal/atomicfile"
)

// WorkDir holds what must never be handed out: the lock and unfinished files.
const WorkDir = ".tufboot"

// Folder is a store in a folder of a local file system.
type Folder struct{ dir string }

// NewFolder returns the store in dir, which need not exist before it is
// written to.
func NewFolder(dir string) *Folder { return &Folder{dir} }

// String returns the folder's path.
func (f *Folder) String() string { return f.dir }

func (f *Folder) path(name string) string {
	return filepath.Join(f.dir, filepath.FromSlash(name))
}

// Open opens a regular file; see [Reader].
func (f *Folder) Open(_ context.Context, name string) (io.ReadCloser, Info, error) {
	file, err := os.Open(f.path(name))
	if err != nil {
		return nil, Info{}, err
	}
	stat, err := file.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = &FileError{Op: "open", Name: name, Place: f.dir, Err: errors.New("not a regular file")}
	}
	if err != nil {
		file.Close()
		return nil, Info{}, err
	}
	return file, infoOf(name, stat), nil
}

// Stat returns a file's size; see [Reader].
func (f *Folder) Stat(_ context.Context, name string) (Info, error) {
	stat, err := os.Stat(f.path(name))
	if err != nil {
		return Info{}, err
	}
	return infoOf(name, stat), nil
}

// infoOf leaves Version to Replace, which reads the content under the lock: the
// time of a change is too coarse to tell two of them apart.
func infoOf(name string, stat fs.FileInfo) Info {
	return Info{Name: name, Size: stat.Size(), Modified: stat.ModTime()}
}

// List yields the files below a folder; see [Lister].
func (f *Folder) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		start := f.path(path.Dir(prefix + "x"))
		err := filepath.WalkDir(start, func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && p == start {
				return fs.SkipAll
			} else if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if d.IsDir() || strings.HasPrefix(d.Name(), atomicfile.TempPrefix) {
				return nil
			}
			name, err := filepath.Rel(f.dir, p)
			if err != nil {
				return err
			}
			name = filepath.ToSlash(name)
			stat, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			} else if err != nil {
				return err
			}
			if strings.HasPrefix(name, prefix) && !yield(infoOf(name, stat), nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Info{}, err)
		}
	}
}

// Create makes a file; see [Writer].
func (f *Folder) Create(_ context.Context, name string, data []byte) error {
	if _, err := os.Lstat(f.path(name)); err == nil {
		return &FileError{Op: "create", Name: name, Place: f.dir, Err: fs.ErrExist}
	}
	return f.write(name, data)
}

// Replace makes or replaces a file; see [Writer]. The lock keeps writers of
// this program out between the comparison and the renaming.
func (f *Folder) Replace(_ context.Context, name string, data []byte, old Info) error {
	if err := f.unchanged(name, old); err != nil {
		return err
	}
	return f.write(name, data)
}

// unchanged compares what can be seen of a file with what was read of it.
func (f *Folder) unchanged(name string, old Info) error {
	stat, err := os.Stat(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		if old.Name == "" {
			return nil
		}
		err = ErrChanged
	} else if err == nil {
		now := infoOf(name, stat)
		if old.Name != "" && now.Size == old.Size && now.Modified.Equal(old.Modified) {
			return nil
		}
		err = ErrChanged
	}
	return &FileError{Op: "replace", Name: name, Place: f.dir, Err: err}
}

func (f *Folder) write(name string, data []byte) error {
	return f.create(func(w io.Writer) (string, error) {
		_, err := w.Write(data)
		return name, err
	})
}

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
		return name(sum), nil
	})
	return sum, length, err
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
	if err := atomicfile.MkdirAll(f.path(WorkDir), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(f.path(WorkDir+"/lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock repository: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, &FileError{Op: "lock", Name: WorkDir + "/lock", Place: f.dir, Err: err}
	}
	if err := atomicfile.RemoveTemp(f.path(WorkDir)); err != nil {
		lock.Close()
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// Remove removes a file; see [Keeper].
func (f *Folder) Remove(_ context.Context, name string) error {
	err := os.Remove(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// CopyHashed copies r to w and returns the hex SHA-256 and the number of
// bytes. It holds one buffer, however long r is, and ends when ctx does.
func CopyHashed(ctx context.Context, w io.Writer, r io.Reader) (string, int64, error) {
	h := sha256.New()
	// A large buffer keeps the disk busy while the hash is computed.
	n, err := io.CopyBuffer(io.MultiWriter(w, h), &contextReader{ctx, r}, make([]byte, 1<<20))
	return hex.EncodeToString(h.Sum(nil)), n, err
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

var _ Store = (*Folder)(nil)
