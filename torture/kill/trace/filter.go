//go:build linux && amd64

package trace

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Places in linux/seccomp.h's struct seccomp_data.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16 // 8 bytes each, the low half first
)

const auditArchAMD64 = 0xc000003e // linux/audit.h, AUDIT_ARCH_X86_64

// Filter keeps this thread, and what it executes, from rebooting the machine: a call
// of reboot(2) fails with EPERM. With stops, it also has the tracer asked at each call
// that changes something, and at each that is not known to be harmless.
//
// The caller's goroutine must be locked to its thread.
func Filter(stops bool) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	program := rules(stops)
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return fmt.Errorf("install the filter: %w", errno)
	}
	return nil
}

func rules(stops bool) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	answer := func(what uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what}
	}
	var p []unix.SockFilter
	// when does what is next if the loaded number is k.
	when := func(k uint32, next ...unix.SockFilter) {
		p = append(append(p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: uint8(len(next))}), next...)
	}
	p = append(p, load(dataArch),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: auditArchAMD64, Jt: 1},
		answer(unix.SECCOMP_RET_KILL_PROCESS), load(dataNumber))
	when(unix.SYS_REBOOT, answer(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)))
	if !stops {
		return append(p, answer(unix.SECCOMP_RET_ALLOW))
	}
	for _, number := range harmless() {
		when(number, answer(unix.SECCOMP_RET_ALLOW))
	}
	when(unix.SYS_OPENAT, load(dataArgs+2*8),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: openFlags, Jt: 1},
		answer(unix.SECCOMP_RET_ALLOW), answer(unix.SECCOMP_RET_TRACE))
	return append(p, answer(unix.SECCOMP_RET_TRACE))
}
