package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tufboot/grub"
)

// node is the machine that is updated: the disk that repo-tool image builds, on
// a loop device that goes past the host's page cache. Slot A is the running one,
// slot B is written, DATA is for what the updaters keep and for their temporary
// files; all three count.
type node struct {
	dir, loop string
}

// diskSize leaves room on DATA for a peer that downloads before it writes.
const diskSize, slotSize = "2500M", "500M"

// extended options of mke2fs: all is written when the file system is made, and
// nothing by the kernel later, during a run.
const extended = "nodiscard,lazy_itable_init=0,lazy_journal_init=0"

func newNode(ctx context.Context, tool, dir, root string, r release, initramfs string) (*node, error) {
	n := &node{dir: dir}
	if err := errors.Join(os.MkdirAll(n.data(), 0o755), os.MkdirAll(n.at("mnt"), 0o755), os.MkdirAll(n.at("old"), 0o755)); err != nil {
		return nil, err
	}
	sparse, image := n.at("sparse.img"), n.at("disk.img")
	err := command(ctx, "", tool, "image", "--root", root, "--version", "0.0", "--kernel", r.kernel, "--initramfs", initramfs,
		"--slot-size", slotSize, "--size", diskSize, "-o", sparse)
	if err != nil {
		return nil, err
	}
	// A real disk has all its blocks.
	if err := command(ctx, "", "cp", "--sparse=never", sparse, image); err != nil {
		return nil, err
	}
	if err := os.Remove(sparse); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "losetup", "-f", "--show", "--direct-io=on", image).Output()
	if err != nil {
		return nil, fmt.Errorf("losetup %s: %w", image, err)
	}
	n.loop = strings.TrimSpace(string(out))
	if err := command(ctx, "", "partx", "-u", n.loop); err != nil {
		n.close()
		return nil, err
	}
	var data unix.Stat_t
	if err := unix.Stat(n.loop+"p4", &data); err != nil {
		n.close()
		return nil, err
	}
	if err := unix.Mknod(n.at(dataDevice), unix.S_IFBLK|0o600, int(data.Rdev)); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// dataDevice is DATA under a name of its own. RAUC asks every mounted /dev/loop*
// for its file, and a partition of a loop device has none.
const dataDevice = "data-device"

func (n *node) at(name string) string { return filepath.Join(n.dir, name) }
func (n *node) data() string          { return n.at("data") }
func (n *node) grubenv() string       { return n.at("grubenv") }

// slot is the partition of a slot.
func (n *node) slot(s grub.Slot) string {
	if s == grub.SlotA {
		return n.loop + "p2"
	}
	return n.loop + "p3"
}

func (n *node) close() {
	n.unmount()
	_ = exec.Command("partx", "-d", n.loop).Run()
	_ = exec.Command("losetup", "-d", n.loop).Run()
	_ = os.Remove(filepath.Join("/sys/fs/cgroup", throttleGroup)) // cgroup v2's
}

// unmount takes away what a run has mounted, also one that failed half-way.
func (n *node) unmount() {
	for _, point := range []string{"mnt", "old", "data"} {
		for syscall.Unmount(n.at(point), syscall.MNT_DETACH) == nil {
			continue
		}
	}
}

// clear makes a slot empty. Mender does not write what is there already, so the
// blocks of an earlier run must be gone too.
func (n *node) clear(ctx context.Context, s grub.Slot) error {
	label := "SYSTEM-" + string(s)
	return errors.Join(
		command(ctx, "", "dd", "if=/dev/zero", "of="+n.slot(s), "bs=4M", "count=64", "oflag=direct", "status=none"),
		command(ctx, "", "mke2fs", "-q", "-F", "-t", "ext4", "-E", extended, "-O", "^metadata_csum_seed,^orphan_file", "-L", label, n.slot(s)))
}

// reset makes the node one that never took an update: an empty slot B, an empty
// DATA (mounted), the initial environment block. Nothing of the slots is in the
// page cache: unmounting them and closing their devices drops it.
func (n *node) reset(ctx context.Context) error {
	n.unmount()
	err := errors.Join(
		n.clear(ctx, grub.SlotB),
		command(ctx, "", "mke2fs", "-q", "-F", "-t", "ext4", "-E", extended, "-L", "DATA", n.loop+"p4"),
		command(ctx, "", "mount", n.at(dataDevice), n.data()),
		os.WriteFile(n.grubenv(), grub.InitialBlock(grub.SlotA), 0o644),
	)
	if err != nil {
		return err
	}
	syscall.Sync()
	return nil
}

// check compares what lies in slot B with what should lie there.
func (n *node) check(ctx context.Context, want payload) error {
	point := n.at("mnt")
	if err := command(ctx, "", "mount", "-o", "ro", n.slot(grub.SlotB), point); err != nil {
		return err
	}
	defer func() { _ = syscall.Unmount(point, 0) }()
	for name, file := range map[string]string{"vmlinuz": want.kernel, "initramfs": want.initramfs} {
		there := filepath.Join(point, name)
		if _, err := os.Stat(there); err != nil {
			there = filepath.Join(point, "system", name) // where OSTree checks out
		}
		if err := command(ctx, "", "cmp", there, file); err != nil {
			return err
		}
	}
	return nil
}
