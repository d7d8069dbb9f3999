package update_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"tufboot/agent/health"
	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata"
)

// killAt runs do with a node that dies when it logs message.
func (r *rig) killAt(message string, do func(n *update.Node)) {
	r.t.Helper()
	type killed struct{}
	n := r.node()
	n.Logger = atMessage(message, func() { panic(killed{}) })
	defer func() {
		if p := recover(); p != (killed{}) {
			r.t.Fatalf("the run was not killed at %q: %v", message, p)
		}
	}()
	do(n)
}

// TestHalfFileGetsNoName: what was not verified to its end never gets the name under
// which GRUB looks for it.
func TestHalfFileGetsNoName(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	ctx, cancel := context.WithCancel(t.Context())
	n := r.node()
	n.NoDelta = true
	n.Progress = func(file string, done, total int64) {
		if file == metadata.InitramfsFile && done < total {
			cancel()
		}
	}
	if _, err := n.Update(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Fatalf("the update that was cut off: %v", err)
	}
	if _, err := image.ReadSlotFile(n.Disk.Slot(grub.SlotB), metadata.InitramfsFile, 64<<20); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half of it has its name: %v", err)
	}
	// And nothing is thrown away for it: a run that was ended says nothing about the slot.
	if _, err := image.ReadSlotFile(n.Disk.Slot(grub.SlotB), metadata.KernelFile, 64<<20); err != nil {
		t.Errorf("the kernel that was there: %v", err)
	}
}

// TestSlotWithoutRoom has a slot that is large enough, and that is kept from being
// emptied. It is refused as such, before anything is fetched.
func TestSlotWithoutRoom(t *testing.T) {
	r := newRig(t)
	r.edit(grub.SlotB, func(dir string) {
		must(t, os.MkdirAll(filepath.Join(dir, "lost+found"), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "lost+found", "#12"), payload("x", "x", 10<<20), 0o600))
	})
	r.publish("2")
	n := r.node()
	n.NoDelta = true
	n.Progress = func(file string, _, _ int64) { t.Errorf("%s was fetched", file) }
	if _, err := n.Update(t.Context(), ""); reasonOf(err) != update.ReasonNoSpace {
		t.Errorf("a slot without room: %v", err)
	}
}

// TestKilledWhileRestaging: as soon as a slot is being written, nothing claims any more
// that it holds what was staged in it before.
func TestKilledWhileRestaging(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	_, err := r.node().Apply(t.Context(), "")
	must(t, err)
	r.publish("3")
	r.killAt("mark slot B as being written", func(n *update.Node) { _, _ = n.Apply(t.Context(), "") })
	st, err := r.node().Status()
	must(t, err)
	if st.Staged != nil {
		t.Errorf("release %s is said to be staged in a slot that is being written", st.Staged.Version)
	}
}

// TestStagedSlotGone takes from the slot what was staged there: it is not armed.
func TestStagedSlotGone(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	_, err := r.node().Apply(t.Context(), "")
	must(t, err)
	r.edit(grub.SlotB, func(dir string) { must(t, os.Remove(filepath.Join(dir, metadata.ManifestFile))) })
	if _, err := r.node().Activate(t.Context()); reasonOf(err) != update.ReasonNothingStaged || r.block().Trial() {
		t.Errorf("a slot without a manifest: %v, block %+v", err, r.block())
	}
}

// TestActivateRefuses arms what is armed already, and what is on trial.
func TestActivateRefuses(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	for _, want := range []string{update.ReasonRebootPending, update.ReasonTrialPending} {
		before := r.block()
		if _, err := r.node().Activate(t.Context()); reasonOf(err) != want || r.block() != before {
			t.Errorf("%v, want %s; block %+v", err, want, r.block())
		}
		r.reboot()
	}
}

// TestKilledAfterArming ends the run in the moment in which the trial is armed. When the
// trial fails, it is known which release that was.
func TestKilledAfterArming(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.killAt("arm slot B", func(n *update.Node) { _, _ = n.Update(t.Context(), "") })
	for range grub.Attempts + 1 {
		r.reboot()
	}
	r.wantRefused(update.ReasonFailedBefore)
}

// TestKilledAfterCommit ends the gate in the moment in which it has marked the trial
// good: the next run refreshes last-good.
func TestKilledAfterCommit(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	r.reboot()
	r.killAt("mark slot B good", func(n *update.Node) {
		_, _ = n.HealthCheck(t.Context(),
			func() (*update.Lock, error) { return update.Acquire(t.Context(), r.state, true) },
			func(context.Context) health.Report { return health.Report{Healthy: true} })
	})
	if p := r.update(); p.Install {
		t.Fatalf("plan %+v", p)
	}
	if good := r.lastGood(); good != grub.SlotB {
		t.Errorf("slot B is committed, and last-good names %q", good)
	}
}

func (r *rig) lastGood() grub.Slot {
	r.t.Helper()
	good, err := (grub.Env{LastGood: filepath.Join(filepath.Dir(r.grubenv), grub.LastGoodFile)}).ReadLastGood()
	must(r.t, err)
	return good
}

// TestGateInterrupted ends the gate while its checks run: a check that was cut off says
// nothing about the release.
func TestGateInterrupted(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	r.reboot()
	ctx, cancel := context.WithCancel(t.Context())
	report, err := r.node().HealthCheck(ctx,
		func() (*update.Lock, error) { return update.Acquire(t.Context(), r.state, false) },
		func(context.Context) health.Report {
			cancel()
			return health.Report{Results: []health.Result{{Name: "workload", Required: true, Error: "cut off"}}}
		})
	if report.Verdict != update.VerdictUndecided || err == nil {
		t.Errorf("verdict %s, %v", report.Verdict, err)
	}
}

// TestUnreadableSlotIsNotBad boots the slot that is not active, and keeps the agent from
// looking at the active one: that proves nothing, and changes nothing.
func TestUnreadableSlotIsNotBad(t *testing.T) {
	r := newRig(t)
	r.commit("2")
	r.booted = grub.Booted{Slot: grub.SlotA}
	point := t.TempDir()
	r.run("mount", r.loop+"p3", point)
	defer r.run("umount", point)
	before := r.block()
	if _, err := r.node().Update(t.Context(), ""); err == nil || r.block() != before {
		t.Errorf("%v; block %+v, was %+v", err, r.block(), before)
	}
}

// TestSlotNearlyTooSmall has a release that is smaller than the partition and larger than
// what its file system can hold: it is refused before the way back is given up.
func TestSlotNearlyTooSmall(t *testing.T) {
	r := newRig(t)
	before, held := r.block(), r.slotHash(grub.SlotB)
	big := filepath.Join(r.dir, "big")
	must(t, os.WriteFile(big, payload("big", "initramfs", 14<<20+800<<10-kernelSize), 0o644))
	r.publishFiles("2", filepath.Join(r.dir, "1.vmlinuz"), big)
	if _, err := r.node().Update(t.Context(), ""); reasonOf(err) != update.ReasonNoSpace {
		t.Errorf("a release that just does not fit: %v", err)
	}
	if r.block() != before || r.slotHash(grub.SlotB) != held {
		t.Errorf("a refused update gave the way back up: block %+v", r.block())
	}
}

// TestCompletedFileRots has the device lose a bit of a file that an interrupted run has
// completed: the next run notices before it goes on, and fetches the file anew.
func TestCompletedFileRots(t *testing.T) {
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
	r.corruptBytes(grub.SlotB, payload("2", metadata.KernelFile, kernelSize))
	r.update()
	r.wantSlot(grub.SlotB, "2")
}
