package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Reading is what the device had in the blocks of a file, read from them past
// all caches while the file was written. It says nothing of the file before
// SlotFile.Consists has proven that the file is made of these blocks.
type Reading struct {
	SHA256  string // of the bytes, in hex
	device  string
	size    int64
	extents []extent
}

// follower reads a file's blocks behind the one who writes them. It knows where
// they are because they were preallocated, and reads them from the partition
// itself: the file system and its caches have no part in it. Its failure is
// nobody's: the file is read back later then.
type follower struct {
	device  *os.File
	reading Reading
	marks   chan int64
	stop    atomic.Bool
	done    chan struct{} // closed at the end of run
	ok      bool          // reading is complete; only after done
}

// follow returns a follower for a file of a device that will have size bytes,
// or nil where the file's blocks are not known or cannot be read directly.
func follow(f *os.File, device string, size int64) *follower {
	extents, err := extentsOf(f, size, true)
	if err != nil {
		return nil
	}
	d, err := os.OpenFile(device, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil
	}
	return &follower{
		device:  d,
		reading: Reading{device: device, size: size, extents: extents},
		// Room for every mark that there can be, so that nobody waits for us.
		marks: make(chan int64, size/streamUnit+4),
		done:  make(chan struct{}),
	}
}

// reached says that the device has all bytes before mark, which is a multiple of
// directAlign.
func (f *follower) reached(mark int64) { f.marks <- mark }

// end says that no more bytes come; whole: the device has all of them.
func (f *follower) end(whole bool) {
	if whole {
		f.marks <- f.reading.size
	}
	close(f.marks)
}

// run reads and hashes up to each mark.
func (f *follower) run() {
	defer close(f.done)
	defer f.device.Close()
	var (
		at     int64
		err    error
		h      = sha256.New()
		buffer = alignedBuffer(streamUnit, directAlign)
	)
	for mark := range f.marks {
		for at < mark && err == nil && !f.stop.Load() {
			var b []byte
			b, err = f.read(buffer, at, mark)
			h.Write(b)
			at += int64(len(b))
		}
	}
	f.reading.SHA256 = hex.EncodeToString(h.Sum(nil))
	f.ok = at == f.reading.size
}

// read reads some of the file's bytes from at on, and none from mark on.
func (f *follower) read(buffer []byte, at, mark int64) ([]byte, error) {
	i := slices.IndexFunc(f.reading.extents, func(e extent) bool { return at < e.logical+e.length })
	if i < 0 {
		return nil, errors.New("behind the last block")
	}
	e := f.reading.extents[i]
	rest := e.logical + e.length - at
	n := min(mark-at, rest, int64(len(buffer)))
	whole := min((n+directAlign-1)&^(directAlign-1), rest) // whole blocks of the device
	if _, err := f.device.ReadAt(buffer[:whole], e.physical+at-e.logical); err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	return buffer[:n], nil
}

// wait returns the reading once everything is read; ok is false if there is none.
func (f *follower) wait() (_ Reading, ok bool) {
	<-f.done
	return f.reading, f.ok
}
