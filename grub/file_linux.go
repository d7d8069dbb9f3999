package grub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A writer holds the lock for milliseconds. One that has it for lockWait is not
// one of ours, and an agent that waits for it for ever could not even be ended.
const (
	lockWait  = 30 * time.Second
	lockPause = 10 * time.Millisecond
)

// openLocked opens a file for reading and writing and waits until no other
// writer has it. It never truncates. Closing the file lets the next writer in.
func openLocked(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("environment block: %w", err)
	}
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockPause) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("lock %s: another program has held it for %v: %w", path, lockWait, err)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// readFrom returns the file's content, at most one byte more than a block has.
func readFrom(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, BlockSize+1))
	if err != nil {
		return nil, fmt.Errorf("read environment block: %w", err)
	}
	return data, nil
}

// replaceContent makes content the whole content of the file at path, in place:
// what is there is overwritten first, and only what is too much is cut off after
// that, so no reader finds less than there was.
func replaceContent(path string, content []byte) error {
	_, statErr := os.Stat(path)
	f, err := openLocked(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		return fmt.Errorf("write environment block: %w", err)
	}
	if err := f.Truncate(int64(len(content))); err != nil {
		return fmt.Errorf("write environment block: %w", err)
	}
	if err := syncAndVerify(f, content); err != nil {
		return err
	}
	if statErr == nil {
		return nil
	}
	return syncFolder(filepath.Dir(path))
}

// syncAndVerify makes the file durable and compares what the device holds.
func syncAndVerify(f *os.File, want []byte) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync environment block: %w", err)
	}
	got, err := readPastCache(f)
	if err != nil {
		return fmt.Errorf("read %s again: %w", f.Name(), err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s: what was written is not what is read back: the device may be failing or write-protected", f.Name())
	}
	return nil
}

// readPastCache reads the file from its device where the file system allows
// O_DIRECT (FAT and ext4 do; tmpfs does not), else after asking the kernel to
// drop its pages.
func readPastCache(f *os.File) ([]byte, error) {
	direct, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDONLY|unix.O_DIRECT, 0)
	if err == nil {
		defer direct.Close()
		buf := alignedBuffer(directReadSize)
		n, err := direct.ReadAt(buf, 0)
		if err == nil || errors.Is(err, io.EOF) {
			return buf[:n], nil
		}
		if !errors.Is(err, unix.EINVAL) {
			return nil, err
		}
	}
	// Best effort: the pages are clean after the fsync, so the kernel can drop them.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	return readFrom(f)
}

// directReadSize is a multiple of every block size that O_DIRECT may ask for, and
// more than a block, so that a file that is too long is noticed.
const directReadSize = 4096

// alignedBuffer returns size bytes at an address that is a multiple of size, as
// O_DIRECT wants it.
func alignedBuffer(size int) []byte {
	buf := make([]byte, 2*size)
	skip := size - int(uintptr(unsafe.Pointer(&buf[0]))%uintptr(size))
	return buf[skip : skip+size]
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}
