package image

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Unverified ends the name of a file whose content nobody has verified yet.
// GRUB never looks at such a name.
const Unverified = ".unverified"

// claimFile holds the identity of the release that the slot is being written
// for. Its name says that the slot is unfinished.
const claimFile = "release" + Unverified

// lostFound is the folder in which a file-system check puts what it finds.
const lostFound = "lost+found"

// Writer changes the files of one slot. It is valid while the function runs
// that WriteSlot gave it to; files that it returned are closed after that.
type Writer struct {
	root    *os.Root
	device  string
	open    []*os.File
	streams map[string]*Stream // the last one of each file
	units   chan []byte        // what streams write; nil before the first one
}

// close leaves nothing open, whatever the caller has left.
func (w *Writer) close() error {
	var err error
	for _, s := range w.streams {
		err = errors.Join(err, s.abandon())
	}
	for _, f := range w.open {
		f.Close() // also when the caller has closed it
	}
	return errors.Join(err, w.root.Close())
}

// Readings waits until the device was read up to the end of every stream, and
// returns what it has, by file. Files that it lacks are to be read back later.
func (w *Writer) Readings() map[string]Reading {
	readings := make(map[string]Reading, len(w.streams))
	for name, s := range w.streams {
		if r, ok := s.reading(); ok {
			readings[name] = r
		}
	}
	return readings
}

// Claim says for which release the slot is written; id is its identity. When
// the slot was claimed for the same id before, everything in it is kept, and
// resumed is true: files with final names are of this release and were
// verified, unverified ones can be continued. Otherwise the slot is emptied.
func (w *Writer) Claim(id string) (resumed bool, err error) {
	if w.claimed(id) {
		return true, nil
	}
	if err := w.Keep(); err != nil {
		return false, err
	}
	return false, w.WriteFile(claimFile, []byte(id))
}

// claimed reports whether the slot was claimed for id. Whatever else has the name
// of the claim is none, also what would block who opens it.
func (w *Writer) claimed(id string) bool {
	f, err := openRegular(w.root, claimFile, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	have, err := io.ReadAll(io.LimitReader(f, int64(len(id))+1))
	return err == nil && string(have) == id
}

// Keep removes everything but the named files and their unverified parts; the claim
// goes last, since it says that the slot is Unfinished. It waits for nothing: ext4's
// journal keeps the order of names, so whatever is durable after this (a claim, a file's
// final name) is not durable before it.
func (w *Writer) Keep(names ...string) error {
	entries, err := fs.ReadDir(w.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("list the slot: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		keep := name == lostFound || name == claimFile || slices.ContainsFunc(names, func(n string) bool {
			return name == n || name == n+Unverified
		})
		if keep {
			continue
		}
		if err := w.root.RemoveAll(name); err != nil {
			return fmt.Errorf("remove an old file: %w", err)
		}
	}
	if err := w.root.RemoveAll(claimFile); err != nil {
		return fmt.Errorf("remove the claim: %w", err)
	}
	return nil
}

// Free returns how many bytes can still be written.
func (w *Writer) Free() (int64, error) {
	dir, err := w.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return 0, fmt.Errorf("free space: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Partial opens the unverified part of the file name, which is to have size
// bytes in the end, or makes an empty one. It returns how many bytes are there
// already; the file's position is behind them. A part that is longer than size
// cannot be of this file and is emptied. When the rest does not fit into the
// slot, the error is a *RefusedError.
func (w *Writer) Partial(name string, size int64) (_ *os.File, have int64, err error) {
	if err := checkName(name); err != nil {
		return nil, 0, err
	}
	if err := w.forget(name); err != nil {
		return nil, 0, err
	}
	f, err := w.openPartial(name)
	if err != nil {
		return nil, 0, err
	}
	w.open = append(w.open, f)
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if have = st.Size(); have > size {
		have = 0
		if err := f.Truncate(0); err != nil {
			return nil, 0, err
		}
	}
	if _, err := f.Seek(have, 0); err != nil {
		return nil, 0, err
	}
	free, err := w.Free()
	if err != nil {
		return nil, 0, err
	}
	if need := size - max(have, w.allocated(name+Unverified)); need > free {
		return nil, 0, fmt.Errorf("%s needs %d more bytes, %d are free: %w", name, need, free, unix.ENOSPC)
	}
	return f, have, nil
}

// forget ends the last stream of a file, whose blocks may get another content.
func (w *Writer) forget(name string) error {
	s := w.streams[name]
	if s == nil {
		return nil
	}
	delete(w.streams, name)
	return s.abandon()
}

// openPartial opens the unverified part for reading and writing. Anything there
// that is no regular file is replaced.
func (w *Writer) openPartial(name string) (*os.File, error) {
	partial := name + Unverified
	if st, err := w.root.Lstat(partial); err == nil && !st.Mode().IsRegular() {
		if err := w.root.RemoveAll(partial); err != nil {
			return nil, err
		}
	}
	return w.root.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o644)
}

// Commit gives the unverified part its final name, after its content is on the
// device. The caller has verified it.
func (w *Writer) Commit(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	f, err := openRegular(w.root, name+Unverified, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if err := w.root.Rename(name+Unverified, name); err != nil {
		return err
	}
	return w.syncDir()
}

// Discard removes the unverified part of the file name, if there is one.
func (w *Writer) Discard(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := w.forget(name); err != nil {
		return err
	}
	if err := w.root.Remove(name + Unverified); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// WriteFile writes a small file: under its unverified name first, then as
// Commit does.
func (w *Writer) WriteFile(name string, data []byte) error {
	if err := w.Discard(name); err != nil {
		return err
	}
	f, _, err := w.Partial(name, int64(len(data)))
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return w.Commit(name)
}

// Open opens a file with its final name for reading, such as one that an
// interrupted run has committed. What has the name and is no file is removed.
func (w *Writer) Open(name string) (*os.File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := openRegular(w.root, name, 0)
	if errors.Is(err, errNotRegular) {
		return nil, cmp.Or(w.root.RemoveAll(name), fs.ErrNotExist)
	}
	if err == nil {
		w.open = append(w.open, f)
	}
	return f, err
}

// syncDir makes the names in the slot's root folder durable.
func (w *Writer) syncDir() error {
	dir, err := w.root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// checkName allows plain names: a slot has no folders.
func checkName(name string) error {
	if !filepath.IsLocal(name) || filepath.Base(name) != name || name == "." || name == lostFound {
		return fmt.Errorf("%q cannot be the name of a slot's file", name)
	}
	return nil
}
