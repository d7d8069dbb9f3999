package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// WorkDir holds what must never be handed out: locks and unfinished files.
const WorkDir = ".tufboot"

// Names of locks. The first is held from one end of an edit to the other, the
// second while one file is compared and replaced.
const (
	editLock  = WorkDir + "/lock"
	writeLock = WorkDir + "/write-lock"
)

// Folder is a store in a folder of a local file system.
//
// A file is written under another name, forced to the device, and renamed, so
// that a process that is killed, or a machine that loses power, leaves the old
// file or the new one (see package atomicfile).
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
	if err := checkName("open", name, f.dir); err != nil {
		return nil, Info{}, err
	}
	file, stat, err := openRegular(f.path(name))
	if errors.Is(err, ErrNotRegular) {
		return nil, Info{}, &FileError{Op: "open", Name: name, Place: f.dir, Err: ErrNotRegular}
	} else if err != nil {
		return nil, Info{}, err
	}
	return file, infoOf(name, stat), nil
}

// Stat returns a regular file's size; see [Reader].
func (f *Folder) Stat(_ context.Context, name string) (Info, error) {
	const op = "look at"
	if err := checkName(op, name, f.dir); err != nil {
		return Info{}, err
	}
	stat, err := os.Stat(f.path(name))
	if err != nil {
		return Info{}, err
	}
	return infoOf(name, stat), f.regular(op, name, stat)
}

func (f *Folder) regular(op, name string, stat fs.FileInfo) error {
	if stat.Mode().IsRegular() {
		return nil
	}
	return &FileError{Op: op, Name: name, Place: f.dir, Err: ErrNotRegular}
}

// infoOf takes the inode into the version: a file that replaces another is made
// beside it, so that theirs differ, and the time alone is too coarse.
func infoOf(name string, stat fs.FileInfo) Info {
	info := Info{Name: name, Size: stat.Size(), Modified: stat.ModTime()}
	var inode uint64
	if sys, ok := stat.Sys().(*syscall.Stat_t); ok {
		inode = sys.Ino
	}
	info.Version = fmt.Sprintf("%x-%x-%x", inode, stat.ModTime().UnixNano(), stat.Size())
	return info
}

// Remove removes a file; see [Keeper].
func (f *Folder) Remove(_ context.Context, name string) error {
	if err := checkName("remove", name, f.dir); err != nil {
		return err
	}
	err := os.Remove(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

var _ Store = (*Folder)(nil)
