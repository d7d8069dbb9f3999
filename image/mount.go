package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Mount is a file system that can be reached through Path until Close.
type Mount struct {
	fd       int
	readOnly bool
}

// Path returns a path by which this process can open a file of the mount; name
// is relative to the file system's root. It is valid until Close and means
// nothing to other processes.
func (m *Mount) Path(name string) string {
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", m.fd), name)
}

// Close writes everything to the device and gives the mount up. A private mount
// is gone then, provided that every file that was opened in it is closed.
func (m *Mount) Close() error {
	if m.fd < 0 {
		return nil
	}
	var syncErr error
	if !m.readOnly {
		syncErr = m.sync()
	}
	fd := m.fd
	m.fd = -1
	return errors.Join(syncErr, unix.Close(fd))
}

// sync writes the file system to the device. Unlike sync(2) it reports errors.
func (m *Mount) sync() error {
	dir, err := os.Open(m.Path("."))
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// mountRequest says how a device is to be mounted privately.
type mountRequest struct {
	device, fsType string
	readOnly       bool
	flags          []string          // options without a value
	values         map[string]string // options with one
	// exclusive refuses a file system that is mounted elsewhere, instead of
	// sharing it.
	exclusive bool
}

// fsconfigCreateExclusive is FSCONFIG_CMD_CREATE_EXCL of linux/mount.h (Linux
// 6.6): create a superblock, and fail when there is one already.
const fsconfigCreateExclusive = 8

// mount makes a detached mount: one that is in no mount namespace. Other
// processes cannot come across it, and the kernel removes it when the last
// descriptor is closed, also when the process is killed.
func mount(r mountRequest) (*Mount, error) {
	fd, err := newMount(r)
	if err != nil {
		return nil, fmt.Errorf("mount %s (%s): %w", r.device, r.fsType, err)
	}
	return &Mount{fd: fd, readOnly: r.readOnly}, nil
}

func newMount(r mountRequest) (fd int, err error) {
	fs, err := unix.Fsopen(r.fsType, unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENODEV) {
		return -1, fmt.Errorf("this kernel cannot read %s, or its module is not loaded: %w", r.fsType, err)
	}
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fs)) }()
	if err := configure(fs, r); err != nil {
		return -1, withKernelLog(fs, err)
	}
	attributes := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOATIME
	if r.readOnly {
		attributes |= unix.MOUNT_ATTR_RDONLY
	}
	fd, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	return fd, nil
}

// configure sets the options and creates the superblock.
func configure(fs int, r mountRequest) error {
	if err := unix.FsconfigSetString(fs, "source", r.device); err != nil {
		return fmt.Errorf("set source: %w", err)
	}
	for _, flag := range r.flags {
		if err := unix.FsconfigSetFlag(fs, flag); err != nil {
			return fmt.Errorf("set option %s: %w", flag, err)
		}
	}
	for key, value := range r.values {
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return fmt.Errorf("set option %s=%s: %w", key, value, err)
		}
	}
	if err := create(fs, r.exclusive); err != nil {
		return &contentError{Err: err}
	}
	return nil
}

// create has the kernel read the file system.
func create(fs int, exclusive bool) error {
	if !exclusive {
		return unix.FsconfigCreate(fs)
	}
	_, _, errno := unix.Syscall6(unix.SYS_FSCONFIG, uintptr(fs), fsconfigCreateExclusive, 0, 0, 0, 0)
	if errno == unix.EOPNOTSUPP { // Linux before 6.6; the exclusive open before is what is left
		return unix.FsconfigCreate(fs)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// withKernelLog adds what the kernel tells about a failed mount.
func withKernelLog(fs int, err error) error {
	message := make([]byte, 1024)
	n, readErr := unix.Read(fs, message)
	if readErr != nil || n <= 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, message[:n])
}
