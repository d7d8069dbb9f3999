package confine

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Needs is what a process goes on to need.
type Needs struct {
	// Capabilities are those to keep, of unix.CAP_*. What the process does not have
	// it does not get.
	Capabilities []int
	// Reboot is whether it may call reboot(2), for which it needs CAP_SYS_BOOT too.
	Reboot bool
}

// Process takes from this process, and from what it might start, all but needs. What
// the kernel refuses is left as it is and told in the error; the rest is done all the
// same. It cannot be taken back.
func Process(needs Needs) error {
	return errors.Join(dropCapabilities(needs.Capabilities), filterCalls(needs.Reboot))
}

// dropCapabilities keeps only those in keep. A thread has capabilities of its own, so
// each has to let go of them: which cannot be done with cgo, as in tests.
func dropCapabilities(keep []int) error {
	var wanted uint64
	for _, c := range keep {
		wanted |= 1 << c
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	var refused error
	// To take from the bounding set needs CAP_SETPCAP, which goes with the rest.
	if sets[0].Effective>>unix.CAP_SETPCAP&1 != 0 {
		for c := range uintptr(64) {
			if wanted>>c&1 != 0 {
				continue
			}
			_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0)
			if errno == unix.EINVAL { // behind the last one
				break
			}
			if errno != 0 {
				refused = fmt.Errorf("drop capability %d from the bounding set: %w", c, errno)
				break
			}
		}
	}
	for i := range sets {
		half := uint32(wanted >> (32 * i))
		sets[i].Permitted &= half
		sets[i].Effective &= half
		sets[i].Inheritable = 0
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0)
	if errno != 0 {
		return errors.Join(refused, fmt.Errorf("drop capabilities: %w", errno))
	}
	return refused
}
