package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// archive writes cpio's "newc" format, which the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst). The same tree
// gives the same bytes: sorted, without times, everything root's.
type archive struct {
	w      *bufio.Writer
	length int64
	inode  int
}

// writeArchive packs a tree, and writes a list of its files: SHA-256, size, name.
func writeArchive(tree, to, list string) error {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	files, err := os.Create(list)
	if err != nil {
		return err
	}
	defer files.Close()
	a := &archive{w: bufio.NewWriterSize(out, 1<<20)}
	err = filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == tree {
			return err
		}
		name, err := filepath.Rel(tree, path)
		if err != nil {
			return err
		}
		return a.add(name, path, entry, files)
	})
	if err != nil {
		return err
	}
	a.header("TRAILER!!!", 0, 0)
	a.pad(512)
	return errors.Join(a.w.Flush(), out.Close(), files.Close())
}

// modes are the types of files in cpio's mode field.
var modes = map[fs.FileMode]uint32{0: 0o100000, fs.ModeDir: 0o040000, fs.ModeSymlink: 0o120000}

func (a *archive) add(name, path string, entry fs.DirEntry, list io.Writer) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	kind, ok := modes[info.Mode().Type()]
	if !ok {
		return fmt.Errorf("%s: no such type of file is expected in a package: %s", name, info.Mode())
	}
	mode := kind | uint32(info.Mode().Perm())
	switch {
	case info.IsDir():
		a.header(name, mode, 0)
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		a.header(name, mode, int64(len(to)))
		a.write([]byte(to))
	default:
		a.header(name, mode, info.Size())
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		n, err := io.Copy(io.MultiWriter(a.w, h), f)
		if err != nil || n != info.Size() {
			return fmt.Errorf("%s: %d of %d bytes: %w", name, n, info.Size(), err)
		}
		a.length += n
		fmt.Fprintf(list, "%x %d %s\n", h.Sum(nil), n, name)
	}
	a.pad(4)
	return nil
}

func (a *archive) header(name string, mode uint32, size int64) {
	a.inode++ // in order, as cpio and mkinitramfs number them
	// magic, ino, mode, uid, gid, nlink, mtime, filesize, 4 device numbers,
	// namesize, check
	a.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name))
	a.pad(4)
}

// write leaves errors to Flush, which repeats the first one.
func (a *archive) write(data []byte) {
	n, _ := a.w.Write(data)
	a.length += int64(n)
}

func (a *archive) pad(to int64) {
	if rest := a.length % to; rest != 0 {
		a.write([]byte(strings.Repeat("\x00", int(to-rest))))
	}
}
