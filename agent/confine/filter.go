//go:build amd64 || arm64

package confine

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where the kernel shows a filter what is called (struct seccomp_data, seccomp(2)).
// Of an argument the lower half is looked at, which is all that these calls look at.
const (
	atNumber = 0
	atArch   = 4
	atArg0   = 16
	argSize  = 8
)

// Flags of clone(2): new namespaces of any kind.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// refusedCalls are the system calls that no verb makes, on any architecture.
func refusedCalls() []uint32 {
	return []uint32{
		// Programs.
		unix.SYS_EXECVE, unix.SYS_EXECVEAT,
		// Other processes, and their files.
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
		// Code in the kernel, and parts of it with a history of faults.
		unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_BPF,
		unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER,
		unix.SYS_IO_URING_REGISTER, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
		// What is mounted where. The agent's own mounts are detached: fsopen, fsconfig
		// and fsmount, without move_mount.
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSPICK,
		unix.SYS_MOUNT_SETATTR, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_SETNS, unix.SYS_UNSHARE,
		// Files past their folders, and device nodes.
		unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_MKNODAT, unix.SYS_FANOTIFY_INIT,
		// The whole machine: its clock, names, swap, accounts, log.
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
		unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT,
		unix.SYS_QUOTACTL, unix.SYS_SYSLOG, unix.SYS_VHANGUP,
		// Other users.
		unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID,
		unix.SYS_SETRESGID, unix.SYS_SETGROUPS, unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_PERSONALITY,
		// Connections from outside.
		unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
		// Executable memory by another way than those below.
		unix.SYS_PKEY_MPROTECT,
	}
}

// filter is a seccomp filter in the making.
type filter []unix.SockFilter

func (f *filter) add(code uint16, k uint32, yes, no uint8) {
	*f = append(*f, unix.SockFilter{Code: code, Jt: yes, Jf: no, K: k})
}

func (f *filter) load(at uint32) { f.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, at, 0, 0) }

func (f *filter) refuse(errno uint32) {
	f.add(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|errno, 0, 0)
}

// refuseCall ends with errno if the loaded number is call.
func (f *filter) refuseCall(call, errno uint32) {
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, call, 0, 1)
	f.refuse(errno)
}

// refuseBits ends with EPERM if the loaded number is call and one of bits is set in
// its argument arg. The number is loaded again for what follows.
func (f *filter) refuseBits(call, arg, bits uint32) {
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, call, 0, 4)
	f.load(atArg0 + arg*argSize)
	f.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, bits, 0, 1)
	f.refuse(uint32(unix.EPERM))
	f.load(atNumber)
}

// program is the filter.
func program(reboot bool) filter {
	var f filter
	// Another architecture's numbers mean other calls: 32-bit calls on amd64.
	f.load(atArch)
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, auditArch, 1, 0)
	f.refuse(uint32(unix.EPERM))
	f.load(atNumber)
	// amd64's x32 calls have this bit; other architectures have no such numbers.
	f.add(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, 1<<30, 0, 1)
	f.refuse(uint32(unix.EPERM))
	for _, call := range append(refusedCalls(), archCalls()...) {
		f.refuseCall(call, uint32(unix.EPERM))
	}
	if !reboot {
		f.refuseCall(unix.SYS_REBOOT, uint32(unix.EPERM))
	}
	// Its flags are out of a filter's sight; told that there is no such call,
	// everybody takes clone.
	f.refuseCall(unix.SYS_CLONE3, uint32(unix.ENOSYS))
	f.refuseBits(unix.SYS_CLONE, 0, newNamespaces)
	f.refuseBits(unix.SYS_MMAP, 2, unix.PROT_EXEC)
	f.refuseBits(unix.SYS_MPROTECT, 2, unix.PROT_EXEC)
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.SYS_SOCKET, 0, 6)
	f.load(atArg0)
	families := []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}
	for i, family := range families {
		f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, family, uint8(len(families)-i), 0)
	}
	f.refuse(uint32(unix.EAFNOSUPPORT))
	f.add(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW, 0, 0)
	return f
}

// filterCalls gives the filter to all threads, and to all that they start.
func filterCalls(reboot bool) error {
	f := program(reboot)
	runtime.LockOSThread() // a filter needs no_new_privs of the thread that sets it
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	p := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	other, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return fmt.Errorf("seccomp filter: %w", errno)
	}
	if other != 0 {
		return fmt.Errorf("seccomp filter: thread %d has another one", other)
	}
	return nil
}
