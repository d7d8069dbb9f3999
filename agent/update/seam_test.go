package update_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/agent/health"
	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/metadata"
	"tufboot/metadata/repository"
)

// commit updates to a release, and lets its trial pass.
func (r *rig) commit(version string) {
	r.t.Helper()
	r.publish(version)
	r.update()
	r.reboot()
	if _, err := r.gate(true); err != nil {
		r.t.Fatal(err)
	}
}

// moveChannel takes back what the channel points to, in favour of a release that
// is published already.
func (r *rig) moveChannel(version string) {
	r.t.Helper()
	c, err := r.repo.Channel(r.t.Context(), "stable")
	must(r.t, err)
	_, err = r.repo.Withdraw(r.t.Context(), repository.WithdrawOptions{
		Channel: "stable", Version: c.Releases[arch].Version, To: version, Keys: r.keys,
	})
	must(r.t, err)
}

func (r *rig) wantNothingFetched() {
	r.t.Helper()
	for _, s := range r.seen() {
		if strings.Contains(s, metadata.KernelFile) || strings.Contains(s, metadata.InitramfsFile) {
			r.t.Errorf("fetched %s", s)
		}
	}
}

// TestWithdrawal goes back to the release that the other slot still holds: it is
// verified there and not fetched again.
func TestWithdrawal(t *testing.T) {
	r := newRig(t)
	r.commit("2")
	r.moveChannel("1")
	r.seen()
	p := r.update()
	if !p.Install || p.Version != "1" || p.Slot != grub.SlotA {
		t.Fatalf("plan %+v", p)
	}
	r.wantNothingFetched()
	if slot := r.reboot(); slot != grub.SlotA || r.booted.Try != 1 {
		t.Fatalf("booted %+v", r.booted)
	}
	if _, err := r.gate(true); err != nil {
		t.Fatal(err)
	}
}

// TestWithdrawnWhileStaged lets the channel go back after apply: what was staged
// must not be activated any more.
func TestWithdrawnWhileStaged(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	_, err := r.node().Apply(t.Context(), "")
	must(t, err)
	r.moveChannel("1")
	p, err := r.node().Apply(t.Context(), "")
	must(t, err)
	if p.Install {
		t.Fatalf("plan %+v", p)
	}
	if _, err := r.node().Activate(t.Context()); reasonOf(err) != update.ReasonNothingStaged {
		t.Fatalf("a withdrawn release was activated: %v", err)
	}
}

// TestStaleStaged has a state that claims more than the slot holds.
func TestStaleStaged(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	_, err := r.node().Apply(t.Context(), "")
	must(t, err)
	state, err := os.ReadFile(filepath.Join(r.state, "state.json"))
	must(t, err)
	r.publish("3")
	_, err = r.node().Apply(t.Context(), "")
	must(t, err)
	r.moveChannel("2")
	must(t, os.WriteFile(filepath.Join(r.state, "state.json"), state, 0o600))
	r.update()
	r.wantSlot(grub.SlotB, "2")
}

// TestRefusalKeepsTheWayBack shows that what can be refused is refused before
// the other slot's release is given up.
func TestRefusalKeepsTheWayBack(t *testing.T) {
	r := newRig(t)
	r.commit("2")
	before, held := r.block(), r.slotHash(grub.SlotA)
	big := filepath.Join(r.dir, "big")
	must(t, os.WriteFile(big, payload("big", "initramfs", 20<<20), 0o644))
	r.publishFiles("3", filepath.Join(r.dir, "1.vmlinuz"), big)
	if _, err := r.node().Update(t.Context(), ""); reasonOf(err) != update.ReasonNoSpace {
		t.Fatalf("a release that is larger than the slot: %v", err)
	}
	r.publish("4")
	point := t.TempDir()
	r.run("mount", "-o", "ro,noload", r.loop+"p2", point)
	_, err := r.node().Update(t.Context(), "")
	r.run("umount", point)
	if reasonOf(err) != "slot-mounted" {
		t.Fatalf("a mounted slot: %v", err)
	}
	if r.block() != before || r.slotHash(grub.SlotA) != held {
		t.Errorf("a refused update gave the way back up: block %+v, was %+v", r.block(), before)
	}
}

// TestGateCannotLock keeps the lock away from a healthy trial's gate at its
// verdict: that is no failure of the release.
func TestGateCannotLock(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	r.reboot()
	calls := 0
	report, err := r.node().HealthCheck(t.Context(), func() (*update.Lock, error) {
		if calls++; calls > 1 {
			return nil, &update.Refusal{Reason: update.ReasonLocked, Text: "held"}
		}
		return update.Acquire(t.Context(), r.state, false)
	}, func(context.Context) health.Report { return health.Report{Healthy: true} })
	if report.Verdict != update.VerdictUndecided || reasonOf(err) != update.ReasonLocked {
		t.Fatalf("verdict %s, %v", report.Verdict, err)
	}
}

// TestTwoGates lets a second gate commit the trial while the first one checks.
func TestTwoGates(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	r.reboot()
	report, err := r.node().HealthCheck(t.Context(),
		func() (*update.Lock, error) { return update.Acquire(t.Context(), r.state, false) },
		func(context.Context) health.Report {
			_, err := r.gate(true)
			must(t, err)
			return health.Report{Healthy: true}
		})
	if err != nil || report.Verdict != update.VerdictCommitted {
		t.Fatalf("verdict %s, %v", report.Verdict, err)
	}
}

// TestRollbackAgain asks twice for the same rollback, as after a lost session.
func TestRollbackAgain(t *testing.T) {
	r := newRig(t)
	r.commit("2")
	_, err := r.node().Rollback(t.Context(), "no")
	must(t, err)
	if _, err := r.node().Rollback(t.Context(), "no"); reasonOf(err) != update.ReasonRebootPending {
		t.Fatalf("the second rollback: %v", err)
	}
	if slot := r.reboot(); slot != grub.SlotA {
		t.Fatalf("booted slot %s", slot)
	}
}

// TestRollbackToAnotherAgentsSlot goes back to a slot whose cmdline.cfg an older
// agent has worded otherwise.
func TestRollbackToAnotherAgentsSlot(t *testing.T) {
	r := newRig(t)
	r.commit("2")
	point := t.TempDir()
	r.run("mount", r.loop+"p2", point)
	must(t, os.WriteFile(filepath.Join(point, grub.CmdlineFile), []byte("# other words\nset tufboot_args='quiet'\nset tufboot_args_end=1\n"), 0o644))
	r.run("umount", point)
	to, err := r.node().Rollback(t.Context(), "no")
	must(t, err)
	if to != grub.SlotA {
		t.Errorf("rolled back to %s", to)
	}
}

// TestTrialLostIsRemembered lets GRUB count and fall back without being able to
// give the trial up. The release must not be installed again, also when the
// agent is cut off while it settles that.
func TestTrialLostIsRemembered(t *testing.T) {
	type killed struct{}
	r := newRig(t)
	r.publish("2")
	r.update()
	r.reboot()
	r.booted = grub.Booted{Slot: grub.SlotA}
	r.wantSituation(update.SituationTrialLost)
	n := r.node()
	n.Logger = atMessage("give the trial up", func() { panic(killed{}) })
	func() {
		defer func() { _ = recover() }()
		_, _ = n.Update(t.Context(), "")
	}()
	_, err := r.node().Update(t.Context(), "")
	if reasonOf(err) != update.ReasonFailedBefore {
		t.Fatalf("after a lost trial: %v", err)
	}
}

// TestWithdrawalKeepsLastGood arms a slot that needed no writing: it must not be
// the one that GRUB falls back to when the block is lost.
func TestWithdrawalKeepsLastGood(t *testing.T) {
	r := newRig(t)
	r.commit("2")
	lastGood := filepath.Join(filepath.Dir(r.grubenv), grub.LastGoodFile)
	must(t, os.WriteFile(lastGood, grub.LastGoodBlock(grub.SlotA), 0o644))
	r.moveChannel("1")
	r.update()
	if good, err := (grub.Env{LastGood: lastGood}).ReadLastGood(); err != nil || good != grub.SlotB {
		t.Errorf("slot A is armed, and last-good names %q (%v)", good, err)
	}
}
