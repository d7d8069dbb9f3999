package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// streamUnit is how much is written and read back at once. More is no faster,
	// and keeps the garbage collector busy (GOMEMLIMIT).
	streamUnit = 512 << 10
	// streamUnits is how many units there are: one fills, one is written, and
	// the others even out what comes in bursts.
	streamUnits = 4
)

// Stream is the unverified part of a slot's file, written from front to back.
// What it is given is written by another goroutine, past the page cache where
// the file system can, and read back from the device by a third one, not far
// behind ([Reading]). At any moment, also when the process is killed, the file's
// size covers only what was written: a later run can go on from there.
//
// It is not safe for concurrent use.
type Stream struct {
	disk    storer
	size    int64             // of the whole file
	held    *io.SectionReader // the bytes that were there before
	next    int64             // place in the file of the first byte of filling
	filling []byte            // what waits until its unit is full; nil: no unit taken
	units   chan []byte
	full    chan []byte
	stored  chan struct{} // closed when nothing is being written any more
	behind  *follower     // nil: the file is not read back by now
	closed  bool

	mu  sync.Mutex
	err error // the first that writing met
}

// storer puts units into a file.
type storer interface {
	// store writes b at a multiple of directAlign. The device has all bytes
	// before the place that it returns.
	store(b []byte, at int64) (onDevice int64, err error)
	// finish waits until the device has all bytes, and gives the file up.
	finish() error
}

// Stream opens the unverified part of the file name for writing behind what is
// there of it (Held). See Partial for what is refused. The caller closes it.
func (w *Writer) Stream(name string, size int64) (_ *Stream, err error) {
	f, held, err := w.Partial(name, size)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
		}
	}()
	if err := preallocate(f, size); err != nil {
		return nil, err
	}
	// The last block, if only a part of it is there, is written anew as a whole.
	head := make([]byte, held%directAlign)
	if _, err := f.ReadAt(head, held-int64(len(head))); err != nil {
		return nil, fmt.Errorf("read the part that is there: %w", err)
	}
	if w.units == nil {
		w.units = newUnits()
	}
	s := startStream(newDirectStorer(f, held-int64(len(head))), follow(f, w.device, size), w.units, size, held-int64(len(head)), head)
	s.held = io.NewSectionReader(f, 0, held)
	w.streams[name] = s
	return s, nil
}

// preallocate gives a file its blocks before they are written: few runs of
// them, their places are known, and the slot cannot turn out to be full later.
// The file's size stays. A file system that cannot do that goes without.
func preallocate(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("reserve %d bytes: %w", size, err)
	}
	return nil
}

func newUnits() chan []byte {
	units := make(chan []byte, streamUnits)
	for range streamUnits {
		units <- alignedBuffer(streamUnit, directAlign)[:0]
	}
	return units
}

// startStream starts to write at a multiple of directAlign; the first bytes are
// head.
func startStream(disk storer, behind *follower, units chan []byte, size, at int64, head []byte) *Stream {
	s := &Stream{
		disk: disk, behind: behind, units: units, size: size, next: at,
		full: make(chan []byte, streamUnits), stored: make(chan struct{}),
	}
	if len(head) > 0 {
		s.filling = append(<-units, head...)
	}
	if behind != nil {
		go behind.run()
		behind.reached(s.next)
	}
	go s.run(s.next)
	return s
}

// Held returns the bytes that were there when the stream was opened. They can be
// read until the first Write.
func (s *Stream) Held() *io.SectionReader { return s.held }

// AvailableBuffer lends an empty slice with some capacity, to be appended to and
// passed to an immediately succeeding Write, which then copies nothing. It waits
// until there is room.
func (s *Stream) AvailableBuffer() []byte {
	if s.filling == nil {
		s.filling = <-s.units
	}
	return s.filling[len(s.filling):]
}

// Write implements io.Writer. An error may be that of an earlier Write.
func (s *Stream) Write(p []byte) (n int, err error) {
	if int64(len(p)) > s.size-s.next-int64(len(s.filling)) {
		return 0, fmt.Errorf("more than the announced %d bytes: %w", s.size, io.ErrShortWrite)
	}
	for len(p) > 0 {
		if err := s.failure(); err != nil {
			return n, err
		}
		room := s.AvailableBuffer()
		k := min(len(p), cap(room))
		if unsafe.SliceData(p) != unsafe.SliceData(room) {
			copy(room[:k], p)
		}
		s.filling = s.filling[:len(s.filling)+k]
		n, p = n+k, p[k:]
		if len(s.filling) == cap(s.filling) {
			s.handOver()
		}
	}
	return n, nil
}

func (s *Stream) handOver() {
	s.next += int64(len(s.filling))
	s.full <- s.filling
	s.filling = nil
}

// run writes what is handed over. After an error it only gives units back.
func (s *Stream) run(at int64) {
	defer close(s.stored)
	for b := range s.full {
		if s.failure() == nil {
			onDevice, err := s.disk.store(b, at)
			s.fail(err)
			at += int64(len(b))
			if err == nil && s.behind != nil {
				s.behind.reached(onDevice)
			}
		}
		s.units <- b[:0]
	}
}

func (s *Stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// Close waits until the device has what was written, also where that is only a
// part of the file. It can be called again.
func (s *Stream) Close() error {
	if s.closed {
		return s.failure()
	}
	s.closed = true
	if len(s.filling) > 0 {
		s.handOver()
	}
	close(s.full)
	<-s.stored
	s.fail(s.disk.finish())
	if s.behind != nil {
		s.behind.end(s.failure() == nil && s.next == s.size)
	}
	return s.failure()
}

// reading returns what was read back behind a stream that was closed.
func (s *Stream) reading() (_ Reading, ok bool) {
	if !s.closed || s.behind == nil {
		return Reading{}, false
	}
	return s.behind.wait()
}

// abandon closes the stream, if nobody has, and ends the reading back.
func (s *Stream) abandon() error {
	if s.behind != nil {
		s.behind.stop.Store(true)
	}
	known := s.closed
	err := s.Close()
	if s.behind != nil {
		s.behind.wait()
	}
	if known {
		return nil // Close has told the caller
	}
	return err
}
