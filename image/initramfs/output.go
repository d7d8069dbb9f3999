package initramfs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tufboot/internal/atomicfile"
)

// unnamed returns a new file without a name, which goes when it is closed and
// with the process.
func unnamed(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600)
	if err == nil {
		return f, nil
	}
	if f, err = os.CreateTemp(dir, atomicfile.TempPrefix); err != nil { // no such thing here
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// replace replaces the file at path with what fill writes, as atomicfile does. While
// that takes its time the new file has no name, where the file system can do that, so
// that who is killed leaves nothing behind.
func replace(path string, perm os.FileMode, fill func(*os.File) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600)
	if err != nil {
		return replaceNamed(path, perm, fill)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if err := fill(f); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// A file cannot be linked over another one.
	name := filepath.Join(dir, atomicfile.TempPrefix+rand.Text())
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("give %s its name: %w", path, err)
	}
	if err := os.Rename(name, path); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return atomicfile.SyncDir(dir)
}

// replaceNamed is replace with a file that has a name meanwhile.
func replaceNamed(path string, perm os.FileMode, fill func(*os.File) error) error {
	return atomicfile.WriteFrom(path, perm, func(w io.Writer) error {
		f, ok := w.(*os.File)
		if !ok {
			return errors.New("what was written cannot be read again")
		}
		return fill(f)
	})
}
