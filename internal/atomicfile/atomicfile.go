// Package atomicfile replaces a file so that a reader, or a machine that loses
// power at any moment, finds the old content or the new, whole.
//
// The order is the argument: write a temporary file beside the target, fsync
// it (the bytes are on the device before the name is), rename it over the
// target (atomic by POSIX), fsync the folder (the name is on the device).
// It is not for the ESP: FAT has no atomic rename (see package grub).
package atomicfile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// TempPrefix starts the name of every temporary file that this package makes,
// so that what a crash left behind can be recognised and removed.
const TempPrefix = ".tufboot-tmp-"

// Write replaces the file at path with data and the given permissions.
func Write(path string, data []byte, perm os.FileMode) error {
	return WriteFrom(path, perm, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteFrom replaces the file at path with what fill writes. If fill or any
// step fails, the old content stays and no temporary file is left.
func WriteFrom(path string, perm os.FileMode, fill func(io.Writer) error) error {
	err := WriteNamed(filepath.Dir(path), perm, func(w io.Writer) (string, error) {
		return path, fill(w)
	})
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}

// WriteNamed writes a file whose name is known only when its content has been
// written, such as one named after its hash: fill writes the content and
// returns the path at which it shall appear. The temporary file lies in
// tempDir, which must be on the file system of that path.
func WriteNamed(tempDir string, perm os.FileMode, fill func(io.Writer) (path string, err error)) (err error) {
	f, err := os.CreateTemp(tempDir, TempPrefix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(perm); err != nil {
		return err
	}
	path, err := fill(f)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll makes a folder and its missing parents, as os.MkdirAll does, and
// makes their names durable.
func MkdirAll(dir string, perm os.FileMode) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, perm); err != nil {
		// Another process may have been first; a file of that name is no folder.
		if info, statErr := os.Stat(dir); statErr != nil || !info.IsDir() {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return SyncDir(parent)
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// RemoveTemp removes what crashed writers left in dir. Call it only while no
// other writer can be at work there.
func RemoveTemp(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, TempPrefix+"*"))
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("remove left-over temporary file: %w", err)
		}
	}
	return nil
}
