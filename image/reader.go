package image

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Reader reads the files of a slot that is not written, such as the booted one.
type Reader struct {
	mount *Mount
	root  *os.Root
}

// OpenSlot opens slot p for reading only, without journal replay, whether or not
// it is mounted elsewhere, where nobody can come across it. What is read may come
// from the page cache and is to be checked.
func OpenSlot(p Partition) (_ *Reader, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open slot %s: %w", p.Name, err)
		}
	}()
	if _, err := identify(p); err != nil {
		return nil, err
	}
	m, err := mountToLook(p.Device, typeExt4)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(m.Path("."))
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &Reader{mount: m, root: root}, nil
}

// Open opens a file of the slot's root folder. The caller closes it before the
// Reader. errors.Is(err, fs.ErrNotExist) tells that it is not there.
func (r *Reader) Open(name string) (*SeedFile, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return openSeed(r.root, name)
}

// Close gives the slot up.
func (r *Reader) Close() error {
	return errors.Join(r.root.Close(), r.mount.Close())
}

// SeedFile is old content of a slot. Nobody vouches for it.
//
// It is read through the page cache: a run that has to search it reads it twice, and
// the pages go with the private mount, or with the file.
type SeedFile struct {
	file *os.File
	size int64
	next atomic.Int64 // behind the last piece that was read
	busy atomic.Bool  // asking the device for more
	asks sync.WaitGroup
}

func openSeed(root *os.Root, name string) (*SeedFile, error) {
	f, err := openRegular(root, name, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &SeedFile{file: f, size: st.Size()}, nil
}

// Size returns the file's size in bytes when it was opened.
func (s *SeedFile) Size() int64 { return s.size }

// readAhead is how many bytes behind a piece the device is asked for already. The
// kernel by itself reads 128 KiB ahead, which is less than a piece.
const readAhead = 1 << 20

// ReadAt implements io.ReaderAt. Where one piece follows another, the device reads
// what is behind it meanwhile.
func (s *SeedFile) ReadAt(p []byte, offset int64) (int, error) {
	end := offset + int64(len(p))
	if s.next.Swap(end) == offset && s.busy.CompareAndSwap(false, true) {
		s.asks.Go(func() { s.ahead(end) })
	}
	return s.file.ReadAt(p, offset)
}

// ahead has the device read what lies behind a place. That takes about as long as to
// copy it from memory, so whoever reads does not wait for it.
func (s *SeedFile) ahead(from int64) {
	_ = unix.Fadvise(int(s.file.Fd()), from, readAhead, unix.FADV_WILLNEED) // only saves time
	s.busy.Store(false)
}

// Close implements io.Closer. Nothing of the file is in use after it, so that the
// slot can be unmounted.
func (s *SeedFile) Close() error {
	s.asks.Wait()
	return s.file.Close()
}
