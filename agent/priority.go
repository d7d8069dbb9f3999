package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The values of `priority:`.
const (
	priorityLow    = "low"
	priorityNormal = "normal"
)

// priority is what the kernel's schedulers make of a thread.
type priority struct {
	nice int // of the processor; 19 is the least urgent
	io   int // class and level of disk access (ioprio_set(2))
}

// Values of linux/ioprio.h and of getpriority(2), which returns 20 - nice itself.
const (
	ioWhoProcess  = 1
	ioClassShift  = 13
	ioClassNormal = 2 // IOPRIO_CLASS_BE, with levels from 0 to 7
	ioClassIdle   = 3
	niceOfSyscall = 20
)

// lowPriority lets a node's real work go first: a release is in no hurry, and
// where nothing else runs it costs nothing. It is the last level of the normal
// class of disk access, and not the idle class: that one can wait for ever on a
// busy disk, and the way back is given up meanwhile.
func lowPriority() priority { return priority{nice: 10, io: ioClassNormal<<ioClassShift | 7} }

// yield gives all threads of this process the low priority, unless somebody has
// given it a lower one, and returns what takes that back.
func yield() (restore func(), err error) {
	before, err := currentPriority()
	if err != nil {
		return func() {}, err
	}
	wanted := lowPriority()
	wanted.nice = max(wanted.nice, before.nice)
	if before.io>>ioClassShift == ioClassIdle {
		wanted.io = before.io
	}
	return func() { _ = setPriority(before) }, setPriority(wanted) // what cannot be taken back was not given
}

func currentPriority() (priority, error) {
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return priority{}, fmt.Errorf("priority: %w", err)
	}
	io, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioWhoProcess, 0, 0)
	if errno != 0 {
		return priority{}, fmt.Errorf("priority of disk access: %w", errno)
	}
	return priority{nice: niceOfSyscall - nice, io: int(io)}, nil
}

// setPriority sets the priority of every thread, since Linux keeps it by thread.
// A thread that starts meanwhile is found in the next pass; later ones inherit it.
func setPriority(p priority) error {
	done := map[int]bool{}
	for range 20 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("priority: %w", err)
		}
		fresh := false
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil || done[id] {
				continue
			}
			done[id], fresh = true, true
			if err := setThread(id, p); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		if !fresh {
			return nil
		}
	}
	return nil
}

func setThread(id int, p priority) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, id, p.nice); err != nil {
		return fmt.Errorf("set priority: %w", err)
	}
	_, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioWhoProcess, uintptr(id), uintptr(p.io))
	if errno != 0 {
		return fmt.Errorf("set priority of disk access: %w", errno)
	}
	return nil
}
