//go:build linux && amd64

package trace

import "golang.org/x/sys/unix"

// kind says when a system call changes what outlives the process.
type kind int

const (
	always  kind = iota // wherever it is used
	onFile              // on a regular file or a block device, and not on a socket, a pipe, ...
	opening             // if its flags create or truncate
	closing             // if it gives a mount up: that unmounts
	never               // must not be used: what it does could not be seen
)

// call is a system call at which the filter stops the process.
type call struct {
	name string
	kind kind
	// args tells what the arguments are: d a folder's descriptor, f a file's, p a path, s a
	// string or nothing, n a number, x a number in hex.
	args string
}

// openFlags are those with which open changes something.
const openFlags = unix.O_CREAT | unix.O_TRUNC | unix.O_TMPFILE&^unix.O_DIRECTORY

// changing returns the calls that change something, by number.
func changing() map[uint64]call {
	return map[uint64]call{
		unix.SYS_WRITE: {"write", onFile, "fxn"}, unix.SYS_PWRITE64: {"pwrite64", onFile, "fxnn"},
		unix.SYS_WRITEV: {"writev", onFile, "fxn"}, unix.SYS_PWRITEV: {"pwritev", onFile, "fxnn"}, unix.SYS_PWRITEV2: {"pwritev2", onFile, "fxnn"},
		unix.SYS_SENDFILE: {"sendfile", onFile, "ffxn"}, unix.SYS_COPY_FILE_RANGE: {"copy_file_range", always, "fxfxn"},
		unix.SYS_SPLICE: {"splice", always, "fxfxn"}, unix.SYS_VMSPLICE: {"vmsplice", always, "fxn"}, unix.SYS_TEE: {"tee", always, "ffn"},
		unix.SYS_RENAME: {"rename", always, "pp"}, unix.SYS_RENAMEAT: {"renameat", always, "dpdp"}, unix.SYS_RENAMEAT2: {"renameat2", always, "dpdpx"},
		unix.SYS_LINK: {"link", always, "pp"}, unix.SYS_LINKAT: {"linkat", always, "dpdpx"},
		unix.SYS_SYMLINK: {"symlink", always, "pp"}, unix.SYS_SYMLINKAT: {"symlinkat", always, "pdp"},
		unix.SYS_UNLINK: {"unlink", always, "p"}, unix.SYS_UNLINKAT: {"unlinkat", always, "dpx"}, unix.SYS_RMDIR: {"rmdir", always, "p"},
		unix.SYS_MKDIR: {"mkdir", always, "pn"}, unix.SYS_MKDIRAT: {"mkdirat", always, "dpn"},
		unix.SYS_MKNOD: {"mknod", always, "pxn"}, unix.SYS_MKNODAT: {"mknodat", always, "dpxn"},
		unix.SYS_TRUNCATE: {"truncate", always, "pn"}, unix.SYS_FTRUNCATE: {"ftruncate", always, "fn"}, unix.SYS_FALLOCATE: {"fallocate", always, "fxnn"},
		unix.SYS_FSYNC: {"fsync", always, "f"}, unix.SYS_FDATASYNC: {"fdatasync", always, "f"}, unix.SYS_SYNC: {"sync", always, ""},
		unix.SYS_SYNCFS: {"syncfs", always, "f"}, unix.SYS_SYNC_FILE_RANGE: {"sync_file_range", always, "fnnx"}, unix.SYS_MSYNC: {"msync", always, "xnx"},
		unix.SYS_CHMOD: {"chmod", always, "px"}, unix.SYS_FCHMOD: {"fchmod", always, "fx"}, unix.SYS_FCHMODAT: {"fchmodat", always, "dpx"}, unix.SYS_FCHMODAT2: {"fchmodat2", always, "dpxx"},
		unix.SYS_CHOWN: {"chown", always, "pnn"}, unix.SYS_LCHOWN: {"lchown", always, "pnn"}, unix.SYS_FCHOWN: {"fchown", always, "fnn"}, unix.SYS_FCHOWNAT: {"fchownat", always, "dpnn"},
		unix.SYS_UTIME: {"utime", always, "p"}, unix.SYS_UTIMES: {"utimes", always, "p"}, unix.SYS_UTIMENSAT: {"utimensat", always, "dp"}, unix.SYS_FUTIMESAT: {"futimesat", always, "dp"},
		unix.SYS_SETXATTR: {"setxattr", always, "ps"}, unix.SYS_LSETXATTR: {"lsetxattr", always, "ps"}, unix.SYS_FSETXATTR: {"fsetxattr", always, "fs"},
		unix.SYS_REMOVEXATTR: {"removexattr", always, "ps"}, unix.SYS_LREMOVEXATTR: {"lremovexattr", always, "ps"}, unix.SYS_FREMOVEXATTR: {"fremovexattr", always, "fs"},
		unix.SYS_IOCTL: {"ioctl", onFile, "fx"},
		unix.SYS_MOUNT: {"mount", always, "sss"}, unix.SYS_UMOUNT2: {"umount2", always, "px"}, unix.SYS_PIVOT_ROOT: {"pivot_root", always, "pp"},
		unix.SYS_FSOPEN: {"fsopen", always, "s"}, unix.SYS_FSCONFIG: {"fsconfig", always, "nns"}, unix.SYS_FSMOUNT: {"fsmount", always, "nx"},
		unix.SYS_FSPICK: {"fspick", always, "dp"}, unix.SYS_MOVE_MOUNT: {"move_mount", always, "dpdp"}, unix.SYS_OPEN_TREE: {"open_tree", always, "dpx"},
		unix.SYS_MOUNT_SETATTR: {"mount_setattr", always, "dp"},
		unix.SYS_OPEN:          {"open", opening, "px"}, unix.SYS_CREAT: {"creat", always, "px"}, unix.SYS_OPENAT: {"openat", opening, "dpx"}, unix.SYS_OPENAT2: {"openat2", always, "dp"},
		unix.SYS_CLOSE:          {"close", closing, "f"},
		unix.SYS_IO_URING_SETUP: {"io_uring_setup", never, "n"}, unix.SYS_IO_URING_ENTER: {"io_uring_enter", never, "n"}, unix.SYS_IO_SETUP: {"io_setup", never, "n"}, unix.SYS_IO_SUBMIT: {"io_submit", never, "n"},
	}
}

// harmless are the calls that change nothing that outlives the process, of those that
// Go programs make. Locks are among them: the kernel frees them.
func harmless() []uint32 {
	return []uint32{
		unix.SYS_READ, unix.SYS_PREAD64, unix.SYS_READV, unix.SYS_PREADV, unix.SYS_PREADV2, unix.SYS_LSEEK, unix.SYS_READAHEAD, unix.SYS_FADVISE64, unix.SYS_FLOCK,
		unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY, unix.SYS_SCHED_YIELD, unix.SYS_RESTART_SYSCALL,
		unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_CREATE1, unix.SYS_EVENTFD2, unix.SYS_PIPE2, unix.SYS_POLL, unix.SYS_PPOLL, unix.SYS_SELECT, unix.SYS_PSELECT6,
		unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK, unix.SYS_MEMBARRIER,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_TGKILL, unix.SYS_KILL,
		unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_EXECVE, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_WAIT4, unix.SYS_WAITID, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL,
		unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_SETPGID, unix.SYS_SETSID,
		unix.SYS_FCNTL, unix.SYS_DUP, unix.SYS_DUP2, unix.SYS_DUP3, unix.SYS_UMASK, unix.SYS_CHDIR, unix.SYS_FCHDIR, unix.SYS_GETCWD,
		unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_FSTAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_ACCESS, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
		unix.SYS_READLINK, unix.SYS_READLINKAT, unix.SYS_GETDENTS64, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_PRLIMIT64, unix.SYS_GETRLIMIT, unix.SYS_SETRLIMIT, unix.SYS_GETRUSAGE,
		unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT4, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT,
		unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG, unix.SYS_SENDMMSG, unix.SYS_SHUTDOWN, unix.SYS_GETRANDOM, unix.SYS_PRCTL, unix.SYS_ARCH_PRCTL,
		unix.SYS_SET_TID_ADDRESS, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SETITIMER, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE,
		unix.SYS_CAPGET, unix.SYS_CAPSET, unix.SYS_SECCOMP, unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_LANDLOCK_ADD_RULE, unix.SYS_LANDLOCK_RESTRICT_SELF,
		unix.SYS_GETPRIORITY, unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_GET, unix.SYS_IOPRIO_SET,
	}
}
