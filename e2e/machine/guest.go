package machine

import (
	"bytes"
	_ "embed"
	"fmt"
	"os/exec"
)

//go:embed init.sh
var initScript []byte

// Cmdline is what guests boot with. Everything goes to the serial console; of the
// kernel's messages only the warnings, among which the health gate's are (each
// line takes time on an emulated port). A panic reboots after one second instead
// of GRUB's ten. And the kernel must not test its timer: on a busy host an
// emulated processor can stand still for so long that the kernel believes the
// interrupt controller to be broken, and then loses interrupts for good. Nor need it
// test its ciphers and clear memory ahead of use: without hardware help both take time.
const Cmdline = "console=ttyS0 loglevel=5 panic=1 no_timer_check cryptomgr.notests init_on_alloc=0"

// BaseTree returns the content of an initramfs for a guest: busybox, the kernel
// modules and PID 1, which expects the agent, the init script of its gate and
// /etc/tufboot-release.
func BaseTree(k Kernel) (Tree, error) {
	t := Tree{}
	if err := t.AddHostFile("bin/busybox", "/bin/busybox", 0o755); err != nil {
		return nil, fmt.Errorf("%w: install busybox-static", err)
	}
	if bytes.Contains(t["bin/busybox"].Data, []byte("/ld-linux")) {
		return nil, fmt.Errorf("/bin/busybox is not static: install busybox-static")
	}
	t.AddFile("init", initScript, 0o755)
	return t, k.addModules(t, guestModules)
}

// Zstd returns data compressed as the kernel can decompress it: quickly, since
// guests run without hardware help.
func Zstd(data []byte) ([]byte, error) {
	cmd := exec.Command("zstd", "-q", "-3", "--no-check", "-c")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("zstd (of the package zstd): %w", err)
	}
	return out, nil
}
