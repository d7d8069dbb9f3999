package main

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tufboot/internal/faultdisk"
)

// disk is a disk that can be taken back to what it was, and that knows what is
// read of it. Other programs reach it through path, a file that a FUSE file
// system of this process serves without any cache.
type disk struct {
	path string
	file *os.File // what has the bytes
	fuse *faultdisk.Disk
	seed maphash.Seed

	mu      sync.Mutex
	sums    []uint64 // of each sector
	saved   []change // what undo writes back, the oldest first
	reads   []bool   // sectors read since trace began; nil: nobody asks
	written []change // what others wrote since trace began
	fault   error    // in a hook, where nobody can be told
}

// change is bytes at a place on the disk.
type change struct {
	offset int64
	bytes  []byte
}

// newDisk makes a disk in the folder dir that has the bytes of an image. Disks
// with the same seed know when they hold the same. (Sums have 64 bits that nobody
// chooses: no two of a million sectors share one by chance.)
func newDisk(dir, image string, seed maphash.Seed) (*disk, error) {
	raw, path := filepath.Join(dir, "bytes"), filepath.Join(dir, "disk")
	if out, err := exec.Command("cp", "--sparse=always", image, raw).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy %s: %w: %s", image, err, out)
	}
	file, err := os.OpenFile(raw, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	d := &disk{path: path, file: file, seed: seed, sums: make([]uint64, st.Size()/sectorSize)}
	if err := d.sumAll(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	if d.fuse, err = faultdisk.Mount(path, file); err != nil {
		return nil, err
	}
	d.fuse.OnRead(d.onRead)
	d.fuse.OnWrite(d.onWrite)
	return d, nil
}

// close unmounts the disk. Where an agent was killed, the kernel lets go of it a little
// later.
func (d *disk) close() error {
	err := d.fuse.Close()
	for deadline := time.Now().Add(30 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); err = d.fuse.Close() {
		time.Sleep(100 * time.Millisecond)
	}
	return errors.Join(err, d.file.Close())
}

func (d *disk) sumAll() error {
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := d.file.ReadAt(buf, at)
		for i := 0; i+sectorSize <= n; i += sectorSize {
			d.sums[(at+int64(i))/sectorSize] = maphash.Bytes(d.seed, buf[i:i+sectorSize])
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (d *disk) onRead(at int64, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reads != nil && len(b) > 0 {
		for s := at / sectorSize; s <= (at+int64(len(b))-1)/sectorSize; s++ {
			d.reads[s] = true
		}
	}
	return nil
}

// onWrite sees what another program is about to write.
func (d *disk) onWrite(at int64, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reads != nil {
		d.written = append(d.written, change{at, append([]byte(nil), b...)})
	}
	if err := d.save(at, b); err != nil {
		d.fault = err
		return err
	}
	return nil
}

// save keeps what is on the disk where b will be written.
func (d *disk) save(at int64, b []byte) error {
	first := at / sectorSize * sectorSize
	last := (at + int64(len(b)) + sectorSize - 1) / sectorSize * sectorSize
	old := make([]byte, last-first)
	if _, err := d.file.ReadAt(old, first); err != nil {
		return fmt.Errorf("save %d bytes at %d: %w", len(b), at, err)
	}
	d.saved = append(d.saved, change{first, old})
	now := append([]byte(nil), old...)
	copy(now[at-first:], b)
	d.sum(first, now)
	return nil
}

func (d *disk) sum(at int64, b []byte) {
	for i := 0; i < len(b); i += sectorSize {
		d.sums[(at+int64(i))/sectorSize] = maphash.Bytes(d.seed, b[i:i+sectorSize])
	}
}

// write writes to the disk.
func (d *disk) write(at int64, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.save(at, b); err != nil {
		return err
	}
	_, err := d.file.WriteAt(b, at)
	return err
}

// read returns n bytes of the disk. Nobody is told.
func (d *disk) read(at, n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := d.file.ReadAt(b, at)
	return b, err
}

// mark returns what undo takes to come back to here.
func (d *disk) mark() int { return len(d.saved) }

// undo takes back whatever was written since mark, by whom ever.
func (d *disk) undo(mark int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := len(d.saved) - 1; i >= mark; i-- {
		c := d.saved[i]
		if _, err := d.file.WriteAt(c.bytes, c.offset); err != nil {
			return err
		}
		d.sum(c.offset, c.bytes)
	}
	d.saved = d.saved[:mark]
	return d.fault
}

// keep makes everything that was written until now what undo cannot take back.
func (d *disk) keep() { d.saved = nil }

// trace runs fn and returns which sectors other programs read meanwhile, and what
// they wrote.
func (d *disk) trace(fn func() error) (read []bool, written []change, err error) {
	d.mu.Lock()
	d.reads, d.written = make([]bool, len(d.sums)), nil
	d.mu.Unlock()
	err = fn()
	d.mu.Lock()
	defer d.mu.Unlock()
	read, written = d.reads, d.written
	d.reads, d.written = nil, nil
	return read, written, err
}
