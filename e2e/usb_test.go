package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"tufboot/e2e/machine"
)

// TestDiskWithTheSameLabels plugs in a second tufboot disk: a USB stick, which
// firmware and GRUB see, and a disk before the boot disk, which the kernel sees
// too (Debian's cloud kernel has no USB). Both hold another release: were
// anything taken from them, it would come up. (UEFI shows GRUB the second disk
// first. On BIOS the boot disk is always GRUB's first, so there it is the agent
// that can be misled. The boot disk is as repo-tool made it: GRUB waits for ESC.)
func TestDiskWithTheSameLabels(t *testing.T) {
	for _, firmware := range []machine.Firmware{machine.BIOS, machine.UEFI} {
		t.Run(string(firmware), func(t *testing.T) {
			t.Parallel()
			n := newPatientNode(t, shared, firmware)
			dir := n.opts.Dir
			foreign, err := n.repo.GoodRelease("foreign")
			n.must(err)
			stick, err := n.repo.Disk(t.Context(), foreign, filepath.Join(dir, "stick.img"))
			n.must(err)
			second, err := stick.CopyTo(filepath.Join(dir, "second.img"))
			n.must(err)
			before, err := stick.Hash("")
			n.must(err)
			n.opts.Disks = []machine.Disk{
				{Path: second.Path},
				{Path: n.image.Path, Boot: true},
				{Path: stick.Path, USB: true},
			}
			n.start()
			n.comesUp("A", "v1", 0)
			n.gatePasses()
			n.publish("v2", n.repo.GoodRelease)
			n.sh("agent update", 0)
			n.reboot("B", "v2", 1)
			n.gatePasses()
			n.envHas("boot_success=1", "active_slot=B", "A_ok=1", "B_ok=1")
			for _, other := range []machine.Image{stick, second} {
				if after, err := other.Hash(""); err != nil || after != before {
					n.Errorf("%s was written to (%v)", other.Path, err)
				}
			}
		})
	}
}

// TestClonedDisk plugs in a byte-for-byte copy of the boot disk, with the same
// partition UUIDs. Nothing tells the kernel which of the two GRUB came from: the
// agent must not write to either.
func TestClonedDisk(t *testing.T) {
	t.Parallel()
	n := newNode(t, machine.BIOS)
	n.publish("v2", n.repo.GoodRelease)
	clone, err := n.image.CopyTo(filepath.Join(n.opts.Dir, "clone.img"))
	n.must(err)
	usb, err := n.image.CopyTo(filepath.Join(n.opts.Dir, "usb.img"))
	n.must(err)
	n.opts.Disks = []machine.Disk{{Path: clone.Path}, {Path: n.image.Path, Boot: true}, {Path: usb.Path, USB: true}}
	before, err := n.image.Hash("")
	n.must(err)
	n.start()
	n.comesUp("A", "v1", 0)
	out := n.sh("agent update", 3)
	if !strings.Contains(out, "ambiguous-disk") {
		n.Errorf("the refusal does not say why: %s", out)
	}
	for _, disk := range []machine.Image{n.image, clone, usb} {
		if after, err := disk.Hash(""); err != nil || after != before {
			n.Errorf("%s was written to (%v)", disk.Path, err)
		}
	}
	if !n.Failed() {
		n.kill()
		n.opts.Disks = []machine.Disk{{Path: n.image.Path, Boot: true}, {Path: usb.Path, USB: true}}
		n.start()
		n.comesUp("A", "v1", 0)
		n.gatePasses()
		n.sh("agent update", 0)
		n.reboot("B", "v2", 1)
		n.gatePasses()
		if after, err := usb.Hash(""); err != nil || after != before {
			n.Errorf("%s was written to (%v)", usb.Path, err)
		}
	}
}
