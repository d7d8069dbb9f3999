package machine

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
)

//go:embed init.sh
var initScript []byte

// gateDefaults set the health gate up for a guest, where a check either passes
// at once or never.
const gateDefaults = "DEADLINE=3\nREBOOT_GRACE=10\n"

// BaseTree returns the content of an initramfs that all guests share: busybox,
// the agent, the init script of its gate, the kernel modules and PID 1. A
// release adds /etc/tufboot-release and what makes it special.
func BaseTree(k Kernel, agent, gate string) (Tree, error) {
	t := Tree{}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, fmt.Errorf("%w: install busybox-static", err)
	}
	if bytes.Contains(busybox, []byte("/ld-linux")) {
		return nil, fmt.Errorf("/bin/busybox is not static: install busybox-static")
	}
	program, err := os.ReadFile(agent)
	if err != nil {
		return nil, err
	}
	service, err := os.ReadFile(gate)
	if err != nil {
		return nil, err
	}
	t.AddFile("bin/busybox", busybox, 0o755)
	t.AddFile("usr/sbin/agent", program, 0o755)
	t.AddFile("etc/init.d/tufboot-gate", service, 0o755)
	t.AddFile("etc/default/tufboot-gate", []byte(gateDefaults), 0o644)
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
