package image

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenESP gives access to the files of the disk's EFI partition: where it is
// mounted already, there, else by a private mount. For writing, a partition
// that somebody has mounted read-only is refused.
//
// A private mount is synchronous: FAT has no journal, so the order in which
// changes reach the device must be the order in which they were made. With
// readOnly nothing is written, not even the mark that FAT is in use.
func OpenESP(d *Disk, readOnly bool) (_ *Mount, err error) {
	p := d.EFI
	defer func() {
		if err != nil {
			err = fmt.Errorf("open the EFI partition %s: %w", p.Device, err)
		}
	}()
	if m, err := openMounted(p, readOnly); m != nil || err != nil {
		return m, err
	}
	fsType, err := typeOfESP(p)
	if err != nil {
		return nil, err
	}
	if readOnly {
		return mountToLook(p.Device, fsType)
	}
	var m *Mount
	err = whileBusy(func() (err error) {
		m, err = mount(mountRequest{device: p.Device, fsType: fsType, flags: []string{"sync"}, values: espOptions(fsType)})
		return err
	})
	if errors.Is(err, unix.EBUSY) {
		return nil, refuse(ReasonESPReadOnly, "mount it for writing where it is mounted, or unmount it", "it is mounted read-only elsewhere: %w", err)
	}
	return m, err
}

// CheckESP returns why OpenESP for writing would be refused, as far as that can be
// told without writing: mounting FAT for writing marks it as in use.
func CheckESP(d *Disk) error {
	m, err := openMounted(d.EFI, false)
	if m != nil {
		return m.Close()
	}
	if err == nil {
		err = checkWritable(d.EFI.Device)
	}
	if err != nil {
		return fmt.Errorf("the EFI partition %s: %w", d.EFI.Device, err)
	}
	return nil
}

// checkWritable refuses a device that the kernel holds to be read-only.
func checkWritable(device string) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	readOnly, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET)
	if err != nil {
		return fmt.Errorf("ask whether it is read-only: %w", err)
	}
	if readOnly != 0 {
		return refuse(ReasonESPReadOnly, "find out what made it read-only (a write protection, `blockdev --setro`, a worn-out device) and end that", "the device is read-only")
	}
	return nil
}

// espOptions returns mount options for writing. Names on the EFI partition are
// plain ASCII, so the kernel's own choice of character set will do, whichever
// of them its modules have.
func espOptions(fsType string) map[string]string {
	if fsType == typeVFAT {
		return map[string]string{"errors": "remount-ro", "umask": "0077"}
	}
	return map[string]string{"errors": "remount-ro"}
}

// typeOfESP returns the type of the file system, which the mount call needs.
// FAT is what firmware reads; ext4 will do for GRUB on BIOS.
func typeOfESP(p Partition) (string, error) {
	f, err := os.Open(p.Device)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sb, err := readSuperblock(f)
	if err != nil {
		return "", err
	}
	if sb.fsType == "" {
		return "", refuse(ReasonWrongFilesystem, "restore the EFI partition from the disk image", "it holds no FAT file system")
	}
	return sb.fsType, nil
}

// openMounted returns the partition's file system where it is mounted in this
// process's namespace, or nil. A mount for writing is preferred.
func openMounted(p Partition, readOnly bool) (*Mount, error) {
	mounts, err := mountsOf(p.Device)
	if err != nil {
		return nil, err
	}
	refused := ""
	for _, at := range mounts {
		if at.root != "/" { // a folder of it, bound elsewhere
			continue
		}
		m, writable, err := openMountPoint(p, at.path)
		if err != nil {
			return nil, err
		}
		switch {
		case m == nil:
		case readOnly || writable:
			m.readOnly = readOnly
			return m, nil
		default:
			refused = at.path
			if err := m.Close(); err != nil {
				return nil, err
			}
		}
	}
	if refused != "" {
		return nil, refuse(ReasonESPReadOnly, "run: mount -o remount,rw "+refused, "it is mounted read-only on %s", refused)
	}
	return nil, nil
}

// openMountPoint opens a mount point, or returns nil when another file system
// is mounted over it.
func openMountPoint(p Partition, path string) (_ *Mount, writable bool, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES) {
		return nil, false, nil // gone, or hidden
	}
	if err != nil {
		return nil, false, fmt.Errorf("open %s: %w", path, err)
	}
	m := &Mount{fd: fd, readOnly: true}
	var want, have unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Stat(p.Device, &want), unix.Fstat(fd, &have), unix.Fstatfs(fd, &fs)); err != nil {
		return nil, false, errors.Join(fmt.Errorf("look at %s: %w", path, err), m.Close())
	}
	if want.Rdev != have.Dev {
		return nil, false, m.Close()
	}
	return m, fs.Flags&unix.ST_RDONLY == 0, nil
}
