package image

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// directStorer writes past the page cache. Where the kernel refuses that
// (EINVAL: the file system or the device cannot, or wants a coarser alignment),
// it writes through the page cache, has the kernel write that out at once, and
// drops the pages: at most two units are dirty. (ext4 takes a refusal for the end
// of the file and gives up what was preallocated behind it. So the file gets
// other blocks than those that are read back, and is read in full later.)
type directStorer struct {
	file    *os.File
	direct  bool  // not refused so far
	settled int64 // all before this place is on the device
}

func newDirectStorer(f *os.File, at int64) *directStorer {
	return &directStorer{file: f, direct: true, settled: at}
}

func (d *directStorer) store(b []byte, at int64) (int64, error) {
	if whole := len(b) &^ (directAlign - 1); d.direct && whole > 0 {
		err := d.storeDirect(b[:whole], at)
		switch {
		case errors.Is(err, unix.EINVAL):
			d.direct = false
		case err != nil:
			return 0, err
		default:
			b, at = b[whole:], at+int64(whole)
			d.settled = at
		}
	}
	if len(b) == 0 {
		return d.settled, nil
	}
	return d.settled, d.storeCached(b, at)
}

func (d *directStorer) storeDirect(b []byte, at int64) error {
	if err := setDirect(d.file, true); err != nil {
		return err
	}
	_, err := d.file.WriteAt(b, at)
	return err
}

// storeCached writes through the page cache; the device has it one call later.
func (d *directStorer) storeCached(b []byte, at int64) error {
	if err := setDirect(d.file, false); err != nil {
		return err
	}
	if _, err := d.file.WriteAt(b, at); err != nil {
		return err
	}
	fd := int(d.file.Fd())
	if err := unix.SyncFileRange(fd, at, int64(len(b)), unix.SYNC_FILE_RANGE_WRITE); err != nil {
		return fmt.Errorf("start to write out %s: %w", d.file.Name(), err)
	}
	if before := at - d.settled; before > 0 {
		const wait = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
		if err := unix.SyncFileRange(fd, d.settled, before, wait); err != nil {
			return fmt.Errorf("write out %s: %w", d.file.Name(), err)
		}
		_ = unix.Fadvise(fd, d.settled, before, unix.FADV_DONTNEED) // only saves memory
		d.settled = at
	}
	return nil
}

// finish also makes the file's size and the map of its blocks durable.
func (d *directStorer) finish() error {
	err := d.file.Sync()
	_ = unix.Fadvise(int(d.file.Fd()), 0, 0, unix.FADV_DONTNEED) // only saves memory
	return errors.Join(err, d.file.Close())
}

// setDirect switches O_DIRECT on or off.
func setDirect(f *os.File, on bool) error {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("flags of %s: %w", f.Name(), err)
	}
	want := flags &^ unix.O_DIRECT
	if on {
		want |= unix.O_DIRECT
	}
	if want == flags {
		return nil
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, want); err != nil {
		return fmt.Errorf("set flags of %s: %w", f.Name(), err)
	}
	return nil
}
