package image

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How long to wait for a device to become free. A descriptor of our own is gone
// as soon as it is closed, except when another thread forked in that moment:
// the child has it until it execs. Somebody who looks at the slot, such as a
// status query, is gone soon as well.
const (
	freeWait = 2 * time.Second
	freePoll = 20 * time.Millisecond
)

// whileBusy tries something again for a while if it fails with EBUSY.
func whileBusy(try func() error) error {
	deadline := time.Now().Add(freeWait)
	for {
		err := try()
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(freePoll)
	}
}

// openExclusive opens a block device that nobody has mounted or otherwise
// claimed. O_EXCL without O_CREAT asks the kernel just that (open(2)), and the
// kernel's answer covers all mount namespaces and detached mounts. While the
// file is open, nobody can mount the device.
func openExclusive(device string) (f *os.File, err error) {
	err = whileBusy(func() error {
		f, err = os.OpenFile(device, os.O_RDWR|unix.O_EXCL, 0)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		if mounts, infoErr := mountsOf(device); infoErr == nil && len(mounts) > 0 {
			return refuseBusy(device, mounts)
		}
		return err
	})
	if errors.Is(err, unix.EBUSY) {
		err = refuseBusy(device, nil)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// mountExclusive mounts a device that nobody else has mounted.
func mountExclusive(r mountRequest) (m *Mount, err error) {
	r.exclusive = true
	err = whileBusy(func() error {
		m, err = mount(r)
		return err
	})
	if errors.Is(err, unix.EBUSY) {
		return nil, refuseBusy(r.device, nil)
	}
	return m, err
}

func refuseBusy(device string, mounts []mountPoint) error {
	if len(mounts) == 0 {
		return refuse(ReasonSlotMounted, "find out what uses it (another mount namespace, swap, RAID, a running file-system check) and end that",
			"%s is in use", device)
	}
	var paths []string
	for _, m := range mounts {
		paths = append(paths, m.path)
	}
	return refuse(ReasonSlotMounted, "unmount it first", "%s is mounted on %s", device, strings.Join(paths, ", "))
}

// identify checks that p holds a slot's file system.
func identify(p Partition) (superblock, error) {
	const advice = "`agent update` makes the file system of the slot that is not running anew"
	f, err := os.Open(p.Device)
	if err != nil {
		return superblock{}, err
	}
	defer f.Close()
	// A page cache that is older than the device would deceive.
	if err := dropCache(f); err != nil {
		return superblock{}, err
	}
	sb, err := readSuperblock(f)
	switch {
	case errors.Is(err, unix.EIO):
		return sb, &DamagedError{Err: fmt.Errorf("%s: %w", p.Device, err)}
	case err != nil:
		return sb, fmt.Errorf("%s: %w", p.Device, err)
	case sb.fsType != typeExt4:
		return sb, refuse(ReasonWrongFilesystem, advice, "%s holds no ext4 file system", p.Device)
	case sb.label != p.Name:
		return sb, refuse(ReasonWrongFilesystem, advice,
			"the file system on %s is labelled %q, its partition %q", p.Device, sb.label, p.Name)
	case sb.foreign != 0:
		return sb, refuse(ReasonWrongFilesystem, advice, "the file system on %s has features that GRUB cannot read (%#x)", p.Device, sb.foreign)
	}
	return sb, nil
}

// dropCache writes out and forgets what the kernel has cached of a block device.
func dropCache(f *os.File) error {
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("drop the cache of %s: %w", f.Name(), err)
	}
	return nil
}
