package confine

import "golang.org/x/sys/unix"

// auditArch is how a filter is told of this architecture.
const auditArch = unix.AUDIT_ARCH_X86_64

// archCalls are refused calls that only some architectures have.
func archCalls() []uint32 {
	return []uint32{
		unix.SYS_MKNOD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT,
	}
}
