package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ownMounts starts this program anew in a mount namespace of its own, unless it is in
// one already. Its disks are mounts: nobody else sees them there, no other process's
// namespace keeps them busy, and they end with it, however it ends.
func ownMounts() error {
	const mark = "TORTURE_OWN_MOUNTS=1"
	for _, v := range os.Environ() {
		if v == mark {
			return nil
		}
	}
	runtime.LockOSThread() // only this thread moves, and exec keeps where it is
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w (it needs root)", err)
	}
	if err == nil {
		err = unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), mark))
	}
	return fmt.Errorf("take a mount namespace: %w", err)
}
