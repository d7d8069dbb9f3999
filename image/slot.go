package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// WriteSlot lets fn change the files of slot p, in steps 1 to 5 of the package
// comment: when it returns nil, everything is on the device, the file system is
// unmounted and its journal empty. fn's error is returned after the unmount;
// what fn has committed until then stays.
//
// A *RefusedError means that p is mounted or in use, holds another file system
// than a slot's, or is too small. Damaged tells of an error whether the file system
// has to be made anew. p must not be the booted slot, nor bootable at all: the
// caller sees to it.
func WriteSlot(p Partition, fn func(*Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write slot %s: %w", p.Name, err)
		}
	}()
	if err := claimSound(p); err != nil {
		return err
	}
	m, err := mountExclusive(mountRequest{
		device: p.Device, fsType: typeExt4, values: map[string]string{"errors": "remount-ro"},
		// The kernel would use the time to write inode tables that nobody needs.
		flags: []string{"noinit_itable"},
	})
	if err != nil {
		return err
	}
	if err := writeMounted(m, p.Device, fn); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			err = refuseFull(p, err)
		}
		return errors.Join(err, proveUnmounted(p))
	}
	return proveUnmounted(p)
}

// claim checks that p is a slot that nobody uses.
func claim(p Partition) error {
	f, err := openExclusive(p.Device)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = identify(p)
	return err
}

// claimSound is claim for writing: what the kernel has found errors in is not
// built upon.
func claimSound(p Partition) error {
	f, err := openExclusive(p.Device)
	if err != nil {
		return err
	}
	defer f.Close()
	sb, err := identify(p)
	if err == nil && sb.failed {
		err = &DamagedError{Err: fmt.Errorf("the file system on %s is marked as damaged", p.Device)}
	}
	return err
}

// writeMounted runs fn on the mount and then takes the mount down, also when fn
// panics.
func writeMounted(m *Mount, device string, fn func(*Writer) error) (err error) {
	defer func() { err = errors.Join(err, m.Close()) }()
	root, err := os.OpenRoot(m.Path("."))
	if err != nil {
		return err
	}
	w := &Writer{root: root, device: device, streams: map[string]*Stream{}}
	defer func() { err = errors.Join(err, w.close()) }()
	return fn(w)
}

// proveUnmounted is the proof that GRUB will see what was written: nobody has
// the device mounted any more, its write cache is flushed, and the journal has
// nothing left that is not in its place.
func proveUnmounted(p Partition) error {
	f, err := openExclusive(p.Device)
	if err != nil {
		return fmt.Errorf("after unmounting: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", p.Device, err)
	}
	sb, err := identify(p)
	if err != nil {
		return fmt.Errorf("after unmounting: %w", err)
	}
	if sb.failed {
		return &DamagedError{Err: fmt.Errorf("%s: the kernel found the file system to be damaged while it was written", p.Device)}
	}
	if sb.dirty {
		return fmt.Errorf("%s: the journal still needs recovery after unmounting", p.Device)
	}
	return nil
}

func refuseFull(p Partition, err error) error {
	if refused := (*RefusedError)(nil); errors.As(err, &refused) {
		return err
	}
	return &RefusedError{Reason: ReasonSlotTooSmall, Advice: "publish a smaller release, or build the disk again with larger slots", Err: err}
}

// ReadSlotFile returns the content of a file in the root folder of slot p, as
// GRUB would see it: read-only, without journal replay, and whether or not the
// slot is mounted elsewhere. A file of more than limit bytes is an error.
// errors.Is(err, fs.ErrNotExist) tells that it is not there.
func ReadSlotFile(p Partition, name string, limit int64) (_ []byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read %s of slot %s: %w", name, p.Name, err)
		}
	}()
	if _, err := identify(p); err != nil {
		return nil, err
	}
	m, err := mountToLook(p.Device, typeExt4)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	root, err := os.OpenRoot(m.Path("."))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := openRegular(root, name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	if err != nil {
		return nil, err
	}
	return content, nil
}

// Unfinished reports whether slot p has the mark of a run that was cut off before it
// had cleared up: its files may all be there, with the old ones beside them.
func Unfinished(p Partition) bool {
	_, err := ReadSlotFile(p, claimFile, 1<<10)
	return err == nil
}

// mountToLook mounts a device for reading. Where it is mounted for writing
// elsewhere, that file system is shared: the kernel refuses to have it both
// ways (EBUSY), but a read-only view of it is possible.
func mountToLook(device, fsType string) (*Mount, error) {
	r := mountRequest{device: device, fsType: fsType, readOnly: true, flags: []string{"ro"}}
	if fsType == typeExt4 {
		r.flags = append(r.flags, "noload")
	}
	var m *Mount
	err := whileBusy(func() (err error) {
		m, err = mount(r)
		if errors.Is(err, unix.EBUSY) {
			shared := r
			shared.flags = nil
			m, err = mount(shared)
		}
		return err
	})
	return m, err
}

// errNotRegular says that a folder, a pipe or the like has the name of a file.
var errNotRegular = errors.New("not a regular file")

// openRegular opens a regular file in the root folder for reading, with
// additional flags. A link is refused, also one to a file of the same slot:
// os.Root follows these whatever the flags are.
func openRegular(root *os.Root, name string, flags int) (*os.File, error) {
	want, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !want.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", name, errNotRegular)
	}
	f, err := root.OpenFile(name, os.O_RDONLY|flags, 0)
	if err != nil {
		return nil, err
	}
	if have, err := f.Stat(); err != nil || !os.SameFile(want, have) {
		return nil, errors.Join(fmt.Errorf("%s was replaced while it was opened", name), err, f.Close())
	}
	return f, nil
}
