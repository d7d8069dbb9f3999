package update_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"tufboot/agent/health"
	"tufboot/agent/update"
	"tufboot/grub"
)

// onTrial returns a node in its first trial boot of release 2.
func onTrial(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.publish("2")
	r.update()
	r.reboot()
	return r
}

// giveBack ends the boot in good order.
func (r *rig) giveBack() {
	r.t.Helper()
	given, err := r.node().GiveBack()
	must(r.t, err)
	if !given {
		r.t.Fatalf("trial boot %d was not given back", r.booted.Try)
	}
}

// TestCleanRebootIsNotCounted reboots a node in good order before its trial is decided,
// for ever: that is no failed boot, and yet the trial ends.
func TestCleanRebootIsNotCounted(t *testing.T) {
	r := onTrial(t)
	for range grub.MaxGiveBacks {
		before := r.block()
		r.giveBack()
		if slot := r.reboot(); slot != grub.SlotB || r.booted.Try != 1 || r.block() != before {
			t.Fatalf("after a clean reboot: slot %s, trial boot %d", slot, r.booted.Try)
		}
		r.wantSituation(update.SituationTrial)
	}
	st, err := r.node().Status()
	must(t, err)
	if st.Trial == nil || st.Trial.GivenBack != grub.MaxGiveBacks || len(st.Alarms) != 0 {
		t.Errorf("status %+v, alarms %q", st.Trial, st.Alarms)
	}
	for try := 1; try <= grub.Attempts; try++ {
		r.wantStaysCounted()
		slot := r.reboot()
		if last := try == grub.Attempts; last != (slot == grub.SlotA) {
			t.Fatalf("slot %s after trial boot %d", slot, try)
		}
	}
	r.wantRefused(update.ReasonFailedBefore)
}

func (r *rig) wantStaysCounted() {
	r.t.Helper()
	before := r.block()
	_, err := r.node().GiveBack()
	if reasonOf(err) != update.ReasonTrialCounted || exitOf(err) != 3 || r.block() != before {
		r.t.Errorf("trial boot %d was given back: %v", r.booted.Try, err)
	}
}

// TestGiveBackOnce: a boot is given back once, also when it goes on after that; the
// next trial has its own limit.
func TestGiveBackOnce(t *testing.T) {
	r := onTrial(t)
	r.giveBack()
	r.wantStaysCounted()
	r.wantSituation(update.SituationTrial)
	if _, err := r.gate(true); err != nil {
		t.Fatalf("a boot that was given back cannot be committed: %v", err)
	}
	r.wantSituation(update.SituationCommitted)
	r.publish("3")
	r.update()
	r.reboot()
	r.giveBack()
}

// TestGiveBackWhileGateRuns: who is faster does not matter.
func TestGiveBackWhileGateRuns(t *testing.T) {
	for _, healthy := range []bool{true, false} {
		r := onTrial(t)
		report, err := r.gateDuring(healthy, r.giveBack)
		want := map[bool]update.Verdict{true: update.VerdictCommitted, false: update.VerdictFailed}[healthy]
		if report.Verdict != want {
			t.Errorf("healthy %v: verdict %s, %v", healthy, report.Verdict, err)
		}
		if got := r.block(); got.Trial() == healthy {
			t.Errorf("healthy %v: block %+v", healthy, got)
		}
	}
}

// gateDuring is gate, and something that happens while its checks run.
func (r *rig) gateDuring(healthy bool, do func()) (update.GateReport, error) {
	r.t.Helper()
	return r.node().HealthCheck(r.t.Context(),
		func() (*update.Lock, error) { return update.Acquire(r.t.Context(), r.state, false) },
		func(context.Context) health.Report {
			do()
			return health.Report{Healthy: healthy}
		})
}

// TestNothingToGiveBack: where nothing is on trial, and where the limit is not known.
func TestNothingToGiveBack(t *testing.T) {
	r := newRig(t)
	wantNothing := func(when string) {
		t.Helper()
		before := r.block()
		if given, err := r.node().GiveBack(); given || err != nil || r.block() != before {
			t.Errorf("%s: given back %v, %v", when, given, err)
		}
	}
	wantNothing("committed")
	r.publish("2")
	r.update()
	wantNothing("armed")
	r.reboot()
	r.booted.BootID = strings.Repeat("0", 15) + "1"
	wantNothing("another trial than the one in the block")
	r.booted.BootID = r.block().BootID
	must(t, os.RemoveAll(r.state))
	r.wantStaysCounted()
	if _, err := r.gate(true); err != nil {
		t.Fatal(err)
	}
	wantNothing("decided")
}
