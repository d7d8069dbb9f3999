package update_test

import (
	"bytes"
	"context"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tufboot/grub"
	"tufboot/metadata"
)

// wantHarmless fails unless slot A is booted, committed and as it was, and slot B
// cannot be chosen.
func (r *rig) wantHarmless(booted string) {
	r.t.Helper()
	if got := r.block(); got.Trial() || got.Active != grub.SlotA || !got.AOK || got.OK(grub.SlotB) {
		r.t.Errorf("block %+v", got)
	}
	if r.slotHash(grub.SlotA) != booted {
		r.t.Error("the booted slot was written")
	}
}

// TestFailingDevice has a device that does not take, or does not give, part of the
// new initramfs. The run fails, nothing is armed, and when the device works again the
// next run completes the update.
func TestFailingDevice(t *testing.T) {
	mark := payload("2", metadata.InitramfsFile, initramfsSize)[1<<20 : 1<<20+4096]
	for name, errno := range map[string]syscall.Errno{"write EIO": syscall.EIO, "write ENOSPC": syscall.ENOSPC, "read EIO": syscall.EIO} {
		t.Run(name, func(t *testing.T) {
			r := newFaultyRig(t)
			booted := r.slotHash(grub.SlotA)
			r.publish("2")
			var failed atomic.Bool
			fail := func(_ int64, b []byte) error {
				if bytes.Contains(b, mark) {
					failed.Store(true)
					return errno
				}
				return nil
			}
			if name == "read EIO" {
				r.fault.OnRead(fail)
			} else {
				r.fault.OnWrite(fail)
			}
			_, err := r.node().Update(t.Context(), "")
			r.fault.OnRead(nil)
			r.fault.OnWrite(nil)
			if err == nil || !failed.Load() {
				t.Fatalf("the fault came (%t), and the update ended with %v", failed.Load(), err)
			}
			r.wantHarmless(booted)
			r.update()
			r.wantSlot(grub.SlotB, "2")
		})
	}
}

// TestReadOnlyBlock has an environment block that cannot be written: the update ends
// before the other slot's release is given up.
func TestReadOnlyBlock(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	before, a, b := r.block(), r.slotHash(grub.SlotA), r.slotHash(grub.SlotB)
	dir := filepath.Dir(r.grubenv)
	r.run("mount", "--bind", dir, dir)
	defer r.run("umount", dir)
	r.run("mount", "-o", "remount,bind,ro", dir)
	if _, err := r.node().Update(t.Context(), ""); err == nil {
		t.Fatal("the update ended well")
	}
	if r.block() != before || r.slotHash(grub.SlotA) != a || r.slotHash(grub.SlotB) != b {
		t.Error("the node was changed")
	}
}

// TestClocks updates at a time that cannot be. A clock in the past is not believed; one
// far ahead refuses, changes nothing, and does no harm to later runs.
func TestClocks(t *testing.T) {
	r := newRig(t)
	right := r.now
	r.floor = right.Add(-time.Hour)
	r.publish("2")
	r.now = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	before, b := r.block(), r.slotHash(grub.SlotB)
	if _, err := r.node().Update(t.Context(), ""); reasonOf(err) != "metadata-expired" || exitOf(err) != 4 {
		t.Errorf("in 2099: %v", err)
	}
	if r.block() != before || r.slotHash(grub.SlotB) != b {
		t.Error("the node was changed")
	}
	r.now = time.Unix(0, 0)
	r.update()
	r.wantSlot(grub.SlotB, "2")
}

// TestInterruptedAtEachStep ends the run's context between any two steps, as SIGTERM
// does. The run ends with the slot armed or not armed, and the next one completes it.
func TestInterruptedAtEachStep(t *testing.T) {
	for _, step := range []string{"mark slot B as being written", "read the slot back", "the slot holds the release", "arm slot B"} {
		t.Run(step, func(t *testing.T) {
			r := newRig(t)
			booted := r.slotHash(grub.SlotA)
			r.publish("2")
			ctx, cancel := context.WithCancel(t.Context())
			n := r.node()
			reached := false
			n.Logger = atMessage(step, func() { reached = true; cancel() })
			_, err := n.Update(ctx, "")
			if !reached {
				t.Fatalf("no such step: %v", err)
			}
			if !r.block().Trial() {
				if err == nil {
					t.Error("not armed, and no error")
				}
				r.wantHarmless(booted)
				r.update()
			}
			r.wantSlot(grub.SlotB, "2")
			if slot := r.reboot(); slot != grub.SlotB || r.booted.Try != 1 {
				t.Errorf("booted %+v", r.booted)
			}
		})
	}
}
