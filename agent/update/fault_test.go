package update_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"tufboot/agent/health"
	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/metadata"
)

// at is a log handler that calls a function when a message is logged: the place
// between two steps at which a test wants a fault.
type at struct {
	slog.Handler
	message string
	do      func()
}

func (a at) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, a.message) {
		a.do()
	}
	return nil
}

func (at) Enabled(context.Context, slog.Level) bool { return true }

func atMessage(message string, do func()) *slog.Logger {
	return slog.New(at{Handler: slog.DiscardHandler, message: message, do: do})
}

// wantUnverified fails unless err says that slot B does not hold what was
// written, and the block keeps it from being booted.
func (r *rig) wantUnverified(err error) {
	r.t.Helper()
	var wrong *update.SlotError
	if !errors.As(err, &wrong) || exitOf(err) != 4 || reasonOf(err) != update.ReasonSlotVerification {
		r.t.Fatalf("a corrupt slot: %v", err)
	}
	if got := r.block(); got.Trial() || got.OK(grub.SlotB) {
		r.t.Fatalf("a corrupt slot in block %+v", got)
	}
}

// TestLyingDevice has a device that stores another bit than it is given, in what
// is read back while the rest is written. The slot must not be armed.
func TestLyingDevice(t *testing.T) {
	for name, size := range map[string]int{metadata.KernelFile: kernelSize, metadata.InitramfsFile: initramfsSize} {
		t.Run(name, func(t *testing.T) {
			r := newFaultyRig(t)
			r.publish("2")
			// In the first block and in the last one, which may be cut.
			for _, at := range []int{0, (size - 1) &^ 4095} {
				mark := payload("2", name, size)[at:][:min(4096, size-at)]
				var lied atomic.Bool
				r.fault.OnWrite(func(_ int64, b []byte) error {
					if i := bytes.Index(b, mark); i >= 0 {
						b[i] ^= 1
						lied.Store(true)
					}
					return nil
				})
				_, err := r.node().Update(t.Context(), "")
				if !lied.Load() {
					t.Fatal("the bytes did not come to the device")
				}
				r.wantUnverified(err)
			}
			r.fault.OnWrite(nil)
			r.update()
			r.wantSlot(grub.SlotB, "2")
		})
	}
}

// TestDeviceLosesCompletedFile lets the device lose a bit of a file that an
// earlier run had completed: what this run has not read back while writing is
// read at the end.
func TestDeviceLosesCompletedFile(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	ctx, cancel := context.WithCancel(t.Context())
	n := r.node()
	n.Progress = func(file string, _, _ int64) {
		if file == metadata.InitramfsFile {
			cancel()
		}
	}
	if _, err := n.Update(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Fatalf("the update that was cut off: %v", err)
	}
	n = r.node()
	n.Logger = atMessage("read the slot back", func() {
		r.corruptBytes(grub.SlotB, payload("2", metadata.KernelFile, kernelSize))
	})
	_, err := n.Update(t.Context(), "")
	r.wantUnverified(err)
	r.update()
	r.wantSlot(grub.SlotB, "2")
}

// TestFileChangesAfterItsReading changes the blocks that a file is made of after
// they were read back.
func TestFileChangesAfterItsReading(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	n := r.node()
	n.Logger = atMessage("read the slot back", func() {
		point := t.TempDir()
		r.run("mount", r.loop+"p3", point)
		defer r.run("umount", point)
		name := filepath.Join(point, metadata.InitramfsFile)
		data, err := os.ReadFile(name)
		must(t, err)
		data[12345] ^= 1
		must(t, errors.Join(os.Rename(name, name+".old"), os.WriteFile(name, data, 0o600)))
	})
	_, err := n.Update(t.Context(), "")
	r.wantUnverified(err)
}

// TestReadBackOnce shows that each byte is written once and read back once, and
// that it is read from the device.
func TestReadBackOnce(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	n := r.node()
	n.NoDelta = true // or the old release would be read as well
	read, written := r.traffic()
	_, err := n.Update(t.Context(), "")
	must(t, err)
	readAfter, writtenAfter := r.traffic()
	const size = kernelSize + initramfsSize
	if n := readAfter - read; n < size || n > size+size/4 {
		t.Errorf("%d bytes were read from the slot, which holds %d", n, size)
	}
	if n := writtenAfter - written; n < size || n > size+size/4 {
		t.Errorf("%d bytes were written to the slot, which holds %d", n, size)
	}
}

// traffic returns how many bytes were read from and written to slot B so far.
func (r *rig) traffic() (read, written int64) {
	r.t.Helper()
	name := filepath.Base(r.loop)
	stat, err := os.ReadFile(filepath.Join("/sys/block", name, name+"p3", "stat"))
	must(r.t, err)
	var skip int64
	_, err = fmt.Sscan(string(stat), &skip, &skip, &read, &skip, &skip, &skip, &written)
	must(r.t, err)
	return read * 512, written * 512
}

// TestSlotIsUnbootableWhileWritten looks at the block when the slot's content is
// about to be read back: GRUB could not have chosen it at any moment before.
func TestSlotIsUnbootableWhileWritten(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	n := r.node()
	looked := false
	n.Progress = func(string, int64, int64) {
		looked = true
		if got := r.block(); got.OK(grub.SlotB) || got.Active != grub.SlotA || got.Trial() {
			t.Errorf("slot B is being written, and the block is %+v", got)
		}
	}
	_, err := n.Update(t.Context(), "")
	must(t, err)
	if !looked {
		t.Error("nothing was written")
	}
}

// TestLastGoodBeforeWriting shows that the slot about to be written is not the
// one that GRUB falls back to when the block is lost.
func TestLastGoodBeforeWriting(t *testing.T) {
	r := newRig(t)
	lastGood := filepath.Join(filepath.Dir(r.grubenv), grub.LastGoodFile)
	must(t, os.WriteFile(lastGood, grub.LastGoodBlock(grub.SlotB), 0o644))
	r.publish("2")
	n := r.node()
	n.Progress = func(string, int64, int64) {
		if good, err := (grub.Env{LastGood: lastGood}).ReadLastGood(); err != nil || good != grub.SlotA {
			t.Errorf("slot B is being written, and last-good names %q (%v)", good, err)
		}
	}
	_, err := n.Update(t.Context(), "")
	must(t, err)
}

// TestKilledBetweenWrites ends the run at each step between two writes, lets the
// machine reboot there, and updates again.
func TestKilledBetweenWrites(t *testing.T) {
	type killed struct{}
	for _, step := range []string{"mark slot B as being written", "read the slot back", "arm slot B"} {
		t.Run(step, func(t *testing.T) {
			r := newRig(t)
			r.publish("2")
			n := r.node()
			n.Logger = atMessage(step, func() { panic(killed{}) })
			func() {
				defer func() {
					if p := recover(); p != (killed{}) {
						t.Fatalf("the run was not killed at %q: %v", step, p)
					}
				}()
				_, _ = n.Update(t.Context(), "")
			}()
			armed := r.block().Trial()
			if slot := r.reboot(); armed != (slot == grub.SlotB) {
				t.Fatalf("armed %v, booted slot %s", armed, slot)
			}
			if armed {
				if _, err := r.gate(true); err != nil {
					t.Fatal(err)
				}
			} else {
				r.update()
				r.reboot()
				if _, err := r.gate(true); err != nil {
					t.Fatal(err)
				}
			}
			r.wantSituation(update.SituationCommitted)
			r.wantSlot(grub.SlotB, "2")
		})
	}
}

// TestActiveSlotGoneBad lets GRUB fall back to the proven slot of a committed
// system, because the active one cannot be read any more. The node must go on
// being updated without anybody's help.
func TestActiveSlotGoneBad(t *testing.T) {
	r := newRig(t)
	r.commit("2")
	r.corrupt(grub.SlotB, "2")
	r.booted = grub.Booted{Slot: grub.SlotA} // what GRUB's fallback boots
	r.kernelID = "after the fallback"
	p := r.update()
	if !p.Install || p.Slot != grub.SlotB {
		t.Fatalf("plan %+v", p)
	}
	r.wantSlot(grub.SlotB, "2")
	if slot := r.reboot(); slot != grub.SlotB || r.booted.Try != 1 {
		t.Fatalf("booted %+v", r.booted)
	}
}

// TestMountedSlot refuses to write to a slot that somebody has mounted.
func TestMountedSlot(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	point := t.TempDir()
	r.run("mount", r.loop+"p3", point)
	_, err := r.node().Update(t.Context(), "")
	r.run("umount", point)
	if reasonOf(err) != "slot-mounted" || exitOf(err) != 3 {
		t.Fatalf("a mounted slot: %v", err)
	}
	r.update()
	r.wantSlot(grub.SlotB, "2")
}

// TestTooLargeRelease is refused before anything is fetched.
func TestTooLargeRelease(t *testing.T) {
	r := newRig(t)
	big := filepath.Join(r.dir, "big")
	must(t, os.WriteFile(big, payload("big", "initramfs", 20<<20), 0o644))
	r.publishFiles("2", filepath.Join(r.dir, "1.vmlinuz"), big)
	r.seen()
	_, err := r.node().Update(t.Context(), "")
	if reasonOf(err) != update.ReasonNoSpace || exitOf(err) != 3 {
		t.Fatalf("a release that is larger than the slot: %v", err)
	}
	for _, s := range r.seen() {
		if strings.Contains(s, "vmlinuz") || strings.Contains(s, "initramfs") {
			t.Errorf("fetched %s", s)
		}
	}
}

// TestRollbackWhileGateRuns gives the trial up while the health checks run. Their
// verdict is about a trial that is no more.
func TestRollbackWhileGateRuns(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	r.reboot()
	report, err := r.node().HealthCheck(t.Context(),
		func() (*update.Lock, error) { return update.Acquire(t.Context(), r.state, false) },
		func(context.Context) health.Report {
			_, err := r.node().Rollback(t.Context(), "no")
			must(t, err)
			return health.Report{Healthy: true}
		})
	if err == nil || report.Verdict == update.VerdictCommitted {
		t.Fatalf("verdict %s, %v", report.Verdict, err)
	}
	if got := r.block(); got.Active != grub.SlotA || got.OK(grub.SlotB) {
		t.Errorf("block %+v", got)
	}
	if good := r.lastGood(); good != grub.SlotA {
		t.Errorf("slot B was never committed, and last-good names %s", good)
	}
}
