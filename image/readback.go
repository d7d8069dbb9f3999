package image

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReadBack is step 6 of the package comment: it lets fn read the files of slot
// p as they are on the device. open returns a file of the slot's root folder;
// errors.Is(err, fs.ErrNotExist) tells that it is not there.
//
// The slot must be unmounted: a *RefusedError says that it is in use. A drive
// that answers from its own memory cannot be seen through.
func ReadBack(p Partition, fn func(open func(name string) (*SlotFile, error)) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read back slot %s: %w", p.Name, err)
		}
	}()
	m, err := mountFresh(p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	root, err := os.OpenRoot(m.Path("."))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	var opened []*SlotFile
	defer func() {
		for _, f := range opened {
			err = errors.Join(err, f.Close())
		}
	}()
	return fn(func(name string) (*SlotFile, error) {
		if err := checkName(name); err != nil {
			return nil, err
		}
		f, err := openDirect(root, p.Device, name)
		if err != nil {
			return nil, err
		}
		opened = append(opened, f)
		return f, nil
	})
}

// mountFresh mounts a slot that nobody has mounted, to read what is on the device.
func mountFresh(p Partition) (*Mount, error) {
	// The exclusive open proves that no mount is left whose page cache would
	// answer; dropping the cache is for the blocks that a mere open device keeps.
	if err := claim(p); err != nil {
		return nil, err
	}
	return mountExclusive(mountRequest{device: p.Device, fsType: typeExt4, readOnly: true, flags: []string{"ro", "noload"}})
}

// Capacity returns how many bytes slot p can hold once it is emptied, about. It
// fails as writing the slot would: where somebody has it mounted (*RefusedError), and
// where its file system is damaged (see Damaged). Nothing is written.
func Capacity(p Partition) (int64, error) {
	m, err := mountFresh(p)
	if err != nil {
		return 0, fmt.Errorf("look at slot %s: %w", p.Name, err)
	}
	var st unix.Statfs_t
	err = unix.Statfs(m.Path("."), &st)
	if err := errors.Join(err, m.Close()); err != nil {
		return 0, fmt.Errorf("look at slot %s: %w", p.Name, err)
	}
	return int64(st.Blocks-(st.Bfree-st.Bavail)) * st.Bsize, nil
}

// directUnit is how much is read at once; directAlign is an alignment of
// memory, place and length that every disk takes for O_DIRECT (open(2)).
const (
	directUnit  = 1 << 20
	directAlign = 4096
)

// SlotFile is a file of a slot as it is on the device: it reads past the page
// cache, where the file system can.
type SlotFile struct {
	file   *os.File
	device string
	buffer []byte // aligned; nil before the first Read
	rest   []byte // of buffer: read and not delivered yet
}

// Consists reports whether the file is made of just the blocks that r was read
// from, in their order, and reads them as they are. Then its content is r's.
func (d *SlotFile) Consists(r Reading) bool {
	st, err := d.file.Stat()
	if err != nil || st.Size() != r.size || d.device != r.device {
		return false
	}
	extents, err := extentsOf(d.file, r.size, false)
	return err == nil && sameBlocks(extents, r.extents, r.size)
}

func openDirect(root *os.Root, device, name string) (*SlotFile, error) {
	f, err := openRegular(root, name, unix.O_DIRECT)
	if errors.Is(err, unix.EINVAL) { // no such thing here; the mount is fresh in any case
		f, err = openRegular(root, name, 0)
	}
	if err != nil {
		return nil, err
	}
	return &SlotFile{file: f, device: device}, nil
}

// Read implements io.Reader.
func (d *SlotFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(d.rest) == 0 {
		n, err := d.fill()
		if err != nil {
			return 0, err
		}
		d.rest = d.buffer[:n]
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// fill reads the next unit into the buffer. Each read but the last is of whole
// units, so the file's position stays aligned.
func (d *SlotFile) fill() (int, error) {
	if d.buffer == nil {
		d.buffer = alignedBuffer(directUnit, directAlign)
	}
	n, err := d.file.Read(d.buffer)
	if errors.Is(err, unix.EINVAL) { // this disk takes no direct reads
		if err := setDirect(d.file, false); err != nil {
			return 0, err
		}
		n, err = d.file.Read(d.buffer)
		return n, err
	}
	return n, err
}

// Close implements io.Closer. It can be called again.
func (d *SlotFile) Close() error {
	if err := d.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// alignedBuffer returns a buffer of size bytes whose address is a multiple of
// align.
func alignedBuffer(size, align int) []byte {
	b := make([]byte, size+align)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (align - 1)
	return b[skip:][:size:size]
}
