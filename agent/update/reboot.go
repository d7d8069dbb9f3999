package update

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tufboot/internal/atomicfile"
)

// LeaveSentinel writes a file that tells whoever coordinates reboots (a systemd
// path unit, kured) that this node wants one, and why.
func LeaveSentinel(path, why string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("leave the reboot sentinel: %w", err)
	}
	if err := atomicfile.Write(path, []byte(why+"\n"), 0o644); err != nil {
		return fmt.Errorf("leave the reboot sentinel: %w", err)
	}
	return nil
}

// RemoveSentinel takes the wish for a reboot back. An empty path, or no file, is
// nothing to do.
func RemoveSentinel(path string) error {
	if err := os.Remove(path); err != nil && path != "" && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the reboot sentinel: %w", err)
	}
	return nil
}

// Reboot restarts the machine: by the given command, so that services end in
// order, or without one by the reboot system call after a sync.
func Reboot(ctx context.Context, command []string) error {
	if len(command) > 0 {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("reboot by %q: %w: %s", command, err, out)
		}
		return nil
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		return fmt.Errorf("reboot: %w (in a container, leave the reboot to the node: see reboot.sentinel)", err)
	}
	return nil
}
