// Package faultdisk is a disk for tests that fails on purpose: a file whose
// every access passes through the test, which may change the bytes on their way
// or refuse them. A loop device over it is a drive that stores something else
// than it was given, or reports errors.
//
// It is a FUSE file system of one file, without any cache of its own. Only root
// can mount it.
package faultdisk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Disk is a mounted file.
type Disk struct {
	path    string
	size    int64
	file    *os.File // what has the bytes
	conn    int      // /dev/fuse
	served  sync.WaitGroup
	mu      sync.Mutex
	onRead  func(at int64, b []byte) error
	onWrite func(at int64, b []byte) error
	onFlush func() error
	holding bool
	held    []write // what no flush has covered, the oldest first
}

// write is what a write has overwritten.
type write struct {
	at  int64
	was []byte
}

// Mount puts a disk with file's bytes over the file at path, until Close.
func Mount(path string, file *os.File) (*Disk, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// Not an os.File: before the mount, the kernel cannot poll it.
	conn, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w", err)
	}
	d := &Disk{path: path, size: st.Size(), file: file, conn: conn}
	options := fmt.Sprintf("fd=%d,rootmode=100600,user_id=0,group_id=0,allow_other", conn)
	if err := unix.Mount("faultdisk", path, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return nil, errors.Join(fmt.Errorf("mount on %s: %w", path, err), unix.Close(conn))
	}
	d.served.Go(d.serve)
	return d, nil
}

// OnWrite sets what is asked, by another goroutine, before each write. It may change b; a syscall.Errno
// fails the write. nil: writes pass.
func (d *Disk) OnWrite(fn func(at int64, b []byte) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onWrite = fn
}

// OnRead sets what is asked, by another goroutine, after each read. It may change b; a syscall.Errno
// fails the read. nil: reads pass.
func (d *Disk) OnRead(fn func(at int64, b []byte) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onRead = fn
}

// OnFlush sets what is asked, by another goroutine, before each flush. A syscall.Errno
// fails the flush. nil: flushes pass.
func (d *Disk) OnFlush(fn func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onFlush = fn
}

// Hold has the disk remember, from now on, what no flush has covered: a drive's cache.
func (d *Disk) Hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holding, d.held = true, nil
}

// PowerCut writes into the file at path what a power cut at this moment would leave
// of the disk at least: everything up to the last flush since Hold. The disk goes on.
func (d *Disk) PowerCut(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	content := make([]byte, d.size)
	if _, err := d.file.ReadAt(content, 0); err != nil {
		return err
	}
	for i := len(d.held) - 1; i >= 0; i-- {
		copy(content[d.held[i].at:], d.held[i].was)
	}
	return os.WriteFile(path, content, 0o600)
}

// Close unmounts the disk.
func (d *Disk) Close() error {
	err := unix.Unmount(d.path, 0)
	if err != nil {
		return err
	}
	d.served.Wait()
	return unix.Close(d.conn)
}

// Opcodes, flags and sizes of linux/fuse.h.
const (
	opForget, opGetattr, opOpen, opRead, opWrite        = 2, 3, 14, 15, 16
	opRelease, opFsync, opFlush, opInit                 = 18, 20, 25, 26
	opInterrupt, opDestroy, opBatchForget               = 36, 38, 42
	headerSize, writeHeader, maxWrite                   = 40, 40, 1 << 20
	initBigWrites, initMaxPages, openDirectIO    uint32 = 1 << 5, 1 << 22, 1
)

// serve answers the kernel until the disk is unmounted.
func (d *Disk) serve() {
	b := make([]byte, maxWrite+64<<10)
	for {
		n, err := unix.Read(d.conn, b)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil || n < headerSize {
			return // ENODEV: unmounted
		}
		op, id := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint64(b[8:])
		if op == opForget || op == opBatchForget || op == opInterrupt {
			continue
		}
		out, err := d.answer(op, b[headerSize:n])
		d.reply(id, out, err)
	}
}

func (d *Disk) reply(id uint64, out []byte, err error) {
	var code int32
	if err != nil {
		errno := syscall.EIO
		errors.As(err, &errno)
		out, code = nil, -int32(errno)
	}
	e := binary.NativeEndian
	msg := e.AppendUint32(nil, uint32(16+len(out)))
	msg = e.AppendUint32(msg, uint32(code))
	msg = e.AppendUint64(msg, id)
	_, _ = unix.Write(d.conn, append(msg, out...)) // fails when the asker is gone
}

func (d *Disk) answer(op uint32, in []byte) ([]byte, error) {
	e := binary.NativeEndian
	switch op {
	case opInit:
		out := make([]byte, 64)
		e.PutUint32(out[0:], 7)
		e.PutUint32(out[4:], 31)
		e.PutUint32(out[12:], initBigWrites|initMaxPages)
		e.PutUint32(out[20:], maxWrite)
		e.PutUint16(out[28:], maxWrite/4096)
		return out, nil
	case opGetattr:
		out := make([]byte, 104)
		e.PutUint64(out[16:], 1) // ino
		e.PutUint64(out[24:], uint64(d.size))
		e.PutUint64(out[32:], uint64(d.size/512))
		e.PutUint32(out[76:], unix.S_IFREG|0o600)
		e.PutUint32(out[80:], 1) // nlink
		return out, nil
	case opOpen:
		out := make([]byte, 16)
		e.PutUint32(out[8:], openDirectIO)
		return out, nil
	case opRead:
		return d.read(int64(e.Uint64(in[8:])), int64(e.Uint32(in[16:])))
	case opWrite:
		return d.write(int64(e.Uint64(in[8:])), in[writeHeader:])
	case opFsync:
		return nil, d.flush()
	case opFlush, opRelease, opDestroy:
		return nil, nil
	}
	return nil, syscall.ENOSYS
}

func (d *Disk) read(at, n int64) ([]byte, error) {
	b := make([]byte, max(min(n, d.size-at), 0))
	if _, err := d.file.ReadAt(b, at); err != nil {
		return nil, err
	}
	d.mu.Lock()
	onRead := d.onRead
	d.mu.Unlock()
	if onRead != nil {
		return b, onRead(at, b)
	}
	return b, nil
}

func (d *Disk) write(at int64, b []byte) ([]byte, error) {
	d.mu.Lock()
	onWrite := d.onWrite
	d.mu.Unlock()
	if onWrite != nil {
		if err := onWrite(at, b); err != nil {
			return nil, err
		}
	}
	if err := d.store(at, b); err != nil {
		return nil, err
	}
	return binary.NativeEndian.AppendUint64(nil, uint64(len(b))), nil
}

func (d *Disk) store(at int64, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.holding {
		was := make([]byte, len(b))
		if _, err := d.file.ReadAt(was, at); err != nil {
			return err
		}
		d.held = append(d.held, write{at, was})
	}
	_, err := d.file.WriteAt(b, at)
	return err
}

func (d *Disk) flush() error {
	d.mu.Lock()
	onFlush := d.onFlush
	d.mu.Unlock()
	if onFlush != nil {
		if err := onFlush(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = nil
	return nil // the test's own machine need not survive a power cut
}
