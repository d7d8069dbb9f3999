package update_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata"
)

// overwrite writes to the device of slot B.
func (r *rig) overwrite(offset int64, data []byte) {
	r.t.Helper()
	f, err := os.OpenFile(r.loop+"p3", os.O_RDWR|os.O_SYNC, 0)
	must(r.t, err)
	_, err = f.WriteAt(data, offset)
	must(r.t, err)
	must(r.t, f.Close())
}

// TestDamagedSlotIsRemade damages the file system of the inactive slot in many ways.
// An update makes it anew, with the same label, and goes on. The booted slot is not
// touched, and what is armed boots.
func TestDamagedSlotIsRemade(t *testing.T) {
	for name, damage := range map[string]func(r *rig){
		"wiped":               func(r *rig) { r.overwrite(0, make([]byte, 16<<20)) },
		"superblock is gone":  func(r *rig) { r.overwrite(1024, make([]byte, 1024)) },
		"start is garbage":    func(r *rig) { r.overwrite(0, payload("x", "garbage", 64<<10)) },
		"groups are garbage":  func(r *rig) { r.overwrite(2048, payload("x", "garbage", 60<<10)) },
		"a number cannot be":  func(r *rig) { r.overwrite(1024+0x20, bytes.Repeat([]byte{0xff}, 4)) },
		"journal is garbage":  func(r *rig) { r.run("debugfs", "-w", "-R", "clri <8>", r.loop+"p3") },
		"root folder is gone": func(r *rig) { r.run("debugfs", "-w", "-R", "clri <2>", r.loop+"p3") },
		"errors were found":   func(r *rig) { r.run("debugfs", "-w", "-R", "ssv state 2", r.loop+"p3") },
		"another label":       func(r *rig) { r.run("e2label", r.loop+"p3", "BACKUP") },
		"no label":            func(r *rig) { r.run("e2label", r.loop+"p3", "") },
		"another file system": func(r *rig) { r.run("mkfs.vfat", "-n", "SYSTEM-B", r.loop+"p3") },
		"what GRUB cannot read": func(r *rig) {
			r.run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "inline_data", "-L", "SYSTEM-B", r.loop+"p3")
		},
		"unknown features": func(r *rig) { r.overwrite(1024+0x60, []byte{0xc2, 0x02, 0x00, 0x40}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			booted := r.slotHash(grub.SlotA)
			r.publish("2")
			damage(r)
			p := r.update()
			if !p.Install || p.Remade == "" {
				t.Errorf("the plan says %+v", p)
			}
			r.wantSlot(grub.SlotB, "2")
			if r.slotHash(grub.SlotA) != booted {
				t.Error("the booted slot was written")
			}
			r.run("e2fsck", "-f", "-n", r.loop+"p3")
			if got := strings.TrimSpace(r.run("e2label", r.loop+"p3")); got != "SYSTEM-B" {
				t.Errorf("it is labelled %q", got)
			}
			r.trial()
			if got := r.run("grub-fstest", r.loop+"p3", "cat", "/"+metadata.KernelFile); got != string(payload("2", metadata.KernelFile, kernelSize)) {
				t.Error("GRUB reads another kernel")
			}
		})
	}
}

// TestSoundSlotIsNotRemade: what is in the way is not always damage.
func TestSoundSlotIsNotRemade(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	mounted := t.TempDir()
	r.run("mount", r.loop+"p3", mounted)
	defer r.run("umount", mounted)
	must(t, os.WriteFile(mounted+"/precious", []byte("data"), 0o600))
	if _, err := r.node().Update(t.Context(), ""); reasonOf(err) != image.ReasonSlotMounted {
		t.Errorf("a slot that somebody has mounted: %v", err)
	}
	if data, err := os.ReadFile(mounted + "/precious"); err != nil || string(data) != "data" {
		t.Errorf("%q, %v", data, err)
	}
}
