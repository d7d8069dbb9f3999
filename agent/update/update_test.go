package update_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tufboot/agent/health"
	"tufboot/agent/update"
	"tufboot/grub"
)

func reasonOf(err error) string {
	var r interface{ ReasonCode() string }
	if errors.As(err, &r) {
		return r.ReasonCode()
	}
	return ""
}

func exitOf(err error) int {
	var c interface{ ExitCode() int }
	if errors.As(err, &c) {
		return c.ExitCode()
	}
	return 1
}

// gate runs the health gate with a health that is given.
func (r *rig) gate(healthy bool) (update.GateReport, error) {
	r.t.Helper()
	return r.node().HealthCheck(r.t.Context(),
		func() (*update.Lock, error) { return update.Acquire(r.t.Context(), r.state, false) },
		func(context.Context) health.Report {
			report := health.Report{Healthy: healthy, Rounds: 1, Results: []health.Result{{Name: "workload", Required: true, Passed: healthy}}}
			if !healthy {
				report.Results[0].Error = "the camera does not answer"
			}
			return report
		})
}

func (r *rig) update() update.Plan {
	r.t.Helper()
	p, err := r.node().Update(r.t.Context(), "")
	must(r.t, err)
	return p
}

func (r *rig) wantSituation(want update.Situation) {
	r.t.Helper()
	st, err := r.node().Status()
	must(r.t, err)
	if st.Situation != want {
		r.t.Fatalf("situation is %s, want %s (block %+v, booted %+v, trial %+v)", st.Situation, want, st.Boot, st.Booted, st.Trial)
	}
}

func (r *rig) wantRefused(reason string) {
	r.t.Helper()
	before := r.block()
	a, b := r.slotHash(grub.SlotA), r.slotHash(grub.SlotB)
	_, err := r.node().Update(r.t.Context(), "")
	if reasonOf(err) != reason {
		r.t.Fatalf("update: reason %q (%v), want %q", reasonOf(err), err, reason)
	}
	if exitOf(err) != 3 {
		r.t.Errorf("update refused with exit code %d, want 3", exitOf(err))
	}
	if r.block() != before || r.slotHash(grub.SlotA) != a || r.slotHash(grub.SlotB) != b {
		r.t.Error("a refused update changed the node")
	}
}

// TestUpdateIsCommitted follows a good release from the server to its commit.
func TestUpdateIsCommitted(t *testing.T) {
	r := newRig(t)
	if p := r.update(); p.Install {
		t.Fatalf("release 1 runs, but the plan is %+v", p)
	}
	r.publish("2")
	booted := r.slotHash(grub.SlotA)
	p := r.update()
	if !p.Install || p.Slot != grub.SlotB || p.Version != "2" {
		t.Fatalf("plan %+v", p)
	}
	r.wantSlot(grub.SlotB, "2")
	if got := r.block(); !got.Trial() || got.Active != grub.SlotB || got.Counter != grub.Attempts {
		t.Fatalf("armed block is %+v", got)
	}
	r.wantSituation(update.SituationArmed)
	r.wantRefused(update.ReasonRebootPending)

	if slot := r.reboot(); slot != grub.SlotB {
		t.Fatalf("trial booted slot %s", slot)
	}
	r.wantSituation(update.SituationTrial)
	r.wantRefused(update.ReasonTrialPending)
	report, err := r.gate(true)
	must(t, err)
	if report.Verdict != update.VerdictCommitted {
		t.Fatalf("verdict %s", report.Verdict)
	}
	if got := r.block(); got.Trial() || got.Active != grub.SlotB || !got.AOK {
		t.Fatalf("committed block is %+v", got)
	}
	if good, err := (grub.Env{Path: r.grubenv, LastGood: filepath.Join(filepath.Dir(r.grubenv), "last-good")}).ReadLastGood(); err != nil || good != grub.SlotB {
		t.Errorf("last-good is %q, %v", good, err)
	}
	r.reboot()
	r.wantSituation(update.SituationCommitted)
	if r.slotHash(grub.SlotA) != booted {
		t.Error("the booted slot was written during an update")
	}
	r.seen()
	if p := r.update(); p.Install {
		t.Errorf("release 2 runs, but the plan is %+v", p)
	}
	if seen := r.seen(); len(seen) != 2 {
		t.Errorf("an up-to-date node made %d requests, want 2: %q", len(seen), seen)
	}
}

// TestUnhealthyReleaseIsRolledBack lets every trial boot fail its health check.
func TestUnhealthyReleaseIsRolledBack(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	for try := 1; try <= grub.Attempts; try++ {
		if slot := r.reboot(); slot != grub.SlotB || r.booted.Try != try {
			t.Fatalf("boot %d: slot %s, try %d", try, slot, r.booted.Try)
		}
		report, err := r.gate(false)
		if report.Verdict != update.VerdictFailed || exitOf(err) != 5 {
			t.Fatalf("boot %d: verdict %s, %v", try, report.Verdict, err)
		}
	}
	if slot := r.reboot(); slot != grub.SlotA {
		t.Fatalf("after %d failed trial boots, slot %s", grub.Attempts, slot)
	}
	r.wantSituation(update.SituationRolledBack)
	r.wantRefused(update.ReasonFailedBefore)
	st, err := r.node().Status()
	must(t, err)
	if len(st.Failed) != 1 || st.Failed[0].Version != "2" || !strings.Contains(st.Failed[0].Why, "camera") {
		t.Fatalf("failed releases are %+v", st.Failed)
	}
	// By name it may be tried again.
	p, err := r.node().Update(t.Context(), "2")
	must(t, err)
	if !p.Install {
		t.Errorf("plan %+v", p)
	}
	r.reboot()
	if _, err := r.gate(true); err != nil {
		t.Fatal(err)
	}
	st, err = r.node().Status()
	must(t, err)
	if len(st.Failed) != 0 {
		t.Errorf("a committed release is still remembered as failed: %+v", st.Failed)
	}
}

// TestLostState shows that nothing in the state folder is needed to decide a
// trial or to update.
func TestLostState(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	must(t, os.RemoveAll(r.state))
	r.wantSituation(update.SituationArmed)
	r.reboot()
	r.wantSituation(update.SituationTrial)
	if _, err := r.gate(true); err != nil {
		t.Fatal(err)
	}
	r.wantSituation(update.SituationCommitted)
	must(t, os.RemoveAll(r.state))
	r.publish("3")
	r.update()
	r.wantSlot(grub.SlotA, "3")
}

// TestDownloadIsGoneOnWith cuts the download and lets the next run go on from
// there.
func TestDownloadIsGoneOnWith(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	const cut = 1 << 20
	ctx, cancel := context.WithCancel(t.Context())
	r.serve = func(w http.ResponseWriter, req *http.Request, files http.Handler) {
		if !strings.HasSuffix(req.URL.Path, ".initramfs") {
			files.ServeHTTP(w, req)
			return
		}
		data := payload("2", "initramfs", initramfsSize)
		_, _ = w.Write(data[:cut])
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
	}
	n := r.node()
	n.Progress = func(file string, done, _ int64) {
		if file == "initramfs" && done >= cut {
			cancel()
		}
	}
	if _, err := n.Update(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Fatalf("the update that was cut off: %v", err)
	}
	if got := r.block(); got.Trial() || got.OK(grub.SlotB) || got.Active != grub.SlotA {
		t.Fatalf("a half-written slot in block %+v", got)
	}
	r.serve = nil
	r.seen()
	r.update()
	r.wantSlot(grub.SlotB, "2")
	var kernel, resumed bool
	for _, s := range r.seen() {
		kernel = kernel || strings.HasSuffix(s, ".vmlinuz")
		resumed = resumed || strings.HasSuffix(s, "bytes=1048576-")
	}
	if kernel || !resumed {
		t.Errorf("the next run fetched the kernel again (%v), or not the rest of the initramfs (%v)", kernel, !resumed)
	}
}

// TestWrongPartial lets the device lose what an earlier run had written.
func TestWrongPartial(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.serve = func(w http.ResponseWriter, req *http.Request, files http.Handler) {
		if strings.HasSuffix(req.URL.Path, ".initramfs") && req.Header.Get("Range") == "" && len(r.requests) < 14 {
			_, _ = w.Write(make([]byte, initramfsSize)) // wrong bytes of the right length
			return
		}
		files.ServeHTTP(w, req)
	}
	_, err := r.node().Update(t.Context(), "")
	if exitOf(err) != 4 || reasonOf(err) != "bad-hash" {
		t.Fatalf("wrong bytes: %v", err)
	}
	if got := r.block(); got.Trial() || got.OK(grub.SlotB) {
		t.Fatalf("a wrong slot in block %+v", got)
	}
	r.serve = nil
	r.update()
	r.wantSlot(grub.SlotB, "2")
}

// TestRollbackByHand goes back to the release before the committed one.
func TestRollbackByHand(t *testing.T) {
	r := newRig(t)
	r.commit("2")
	to, err := r.node().Rollback(t.Context(), "ticket 4711")
	must(t, err)
	if to != grub.SlotA {
		t.Fatalf("rolled back to %s", to)
	}
	r.wantSituation(update.SituationOtherSlot)
	r.wantRefused(update.ReasonOtherSlot)
	if slot := r.reboot(); slot != grub.SlotA {
		t.Fatalf("booted slot %s", slot)
	}
	r.wantRefused(update.ReasonFailedBefore)
}

// TestRollbackDuringTrial gives a trial up at once, and before its reboot.
func TestRollbackDuringTrial(t *testing.T) {
	for _, rebooted := range []bool{false, true} {
		r := newRig(t)
		r.publish("2")
		r.update()
		if rebooted {
			r.reboot()
		}
		to, err := r.node().Rollback(t.Context(), "no")
		must(t, err)
		if got := r.block(); to != grub.SlotA || got.Trial() || got.Active != grub.SlotA || got.OK(grub.SlotB) {
			t.Fatalf("rebooted %v: to %s, block %+v", rebooted, to, got)
		}
		r.reboot()
		r.wantRefused(update.ReasonFailedBefore)
		if _, err := r.node().Rollback(t.Context(), "again"); reasonOf(err) != update.ReasonSlotNotBootable {
			t.Errorf("rollback to a given-up slot: %v", err)
		}
	}
}

// TestRollbackToCorruptSlot refuses to go back to what does not hold a release.
func TestRollbackToCorruptSlot(t *testing.T) {
	r := newRig(t)
	r.commit("2")
	r.corrupt(grub.SlotA, "1")
	_, err := r.node().Rollback(t.Context(), "no")
	if reasonOf(err) != update.ReasonSlotNotBootable {
		t.Fatalf("rollback to a corrupt slot: %v", err)
	}
	if got := r.block(); got.Active != grub.SlotB {
		t.Errorf("block %+v", got)
	}
}

// TestDamagedBlock repairs the block from what is running.
func TestDamagedBlock(t *testing.T) {
	r := newRig(t)
	must(t, os.WriteFile(r.grubenv, make([]byte, 1024), 0o644))
	r.wantSituation(update.SituationDamaged)
	if _, err := r.gate(true); err != nil {
		t.Fatal(err)
	}
	if got := r.block(); got.Active != grub.SlotA || got.Trial() || got.BOK {
		t.Fatalf("repaired block %+v", got)
	}
	r.publish("2")
	r.update()
	r.reboot()

	trial := r.block()
	must(t, os.WriteFile(r.grubenv, nil, 0o644))
	report, err := r.gate(false)
	if report.Verdict != update.VerdictFailed {
		t.Fatalf("the trial was not judged after a repair: %v, %v", report, err)
	}
	if got := r.block(); got != trial {
		t.Fatalf("the repaired block forgot the trial: %+v, was %+v", got, trial)
	}
}

// TestUncountedTrial raises the alarm when GRUB does not count.
func TestUncountedTrial(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	armed := r.block()
	boots := map[string]grub.Booted{
		"other slot, not counted": {Slot: grub.SlotA},
		"no boot_id":              {Slot: grub.SlotB, Try: 1},
		"other boot_id":           {Slot: grub.SlotB, Try: 1, BootID: "ffffffffffffffff"},
		"not counted":             {Slot: grub.SlotB, Try: 1, BootID: armed.BootID},
	}
	for name, booted := range boots {
		r.kernelID, r.booted = "boot-"+name, booted
		t.Run(name, func(t *testing.T) {
			r.wantSituation(update.SituationMismatch)
			r.wantRefused(update.ReasonBootState)
			report, err := r.gate(true)
			if report.Verdict == update.VerdictCommitted || reasonOf(err) != update.ReasonBootState {
				t.Errorf("an unexplained trial was judged: %s, %v", report.Verdict, err)
			}
		})
	}
	to, err := r.node().Rollback(t.Context(), "alarm")
	must(t, err)
	if to != grub.SlotA {
		t.Errorf("rolled back to %s", to)
	}
}

// TestLock keeps two agents apart.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	l, err := update.Acquire(t.Context(), dir, false)
	must(t, err)
	if _, err := update.Acquire(t.Context(), dir, false); reasonOf(err) != update.ReasonLocked {
		t.Errorf("second lock: %v", err)
	}
	l.Release()
	l, err = update.Acquire(t.Context(), dir, false)
	must(t, err)
	l.Release()
}

// TestBrokenState sets a damaged state file aside; who only looks leaves it.
func TestBrokenState(t *testing.T) {
	r := newRig(t)
	must(t, os.MkdirAll(r.state, 0o700))
	must(t, os.WriteFile(filepath.Join(r.state, "state.json"), []byte(`{"failed":[{`), 0o600))
	r.wantSituation(update.SituationCommitted)
	entries, err := filepath.Glob(filepath.Join(r.state, "*.broken"))
	must(t, err)
	if len(entries) > 0 {
		t.Errorf("status has changed %q", entries)
	}
	r.update()
	entries, err = filepath.Glob(filepath.Join(r.state, "*.broken"))
	must(t, err)
	if !slices.Contains(entries, filepath.Join(r.state, "state.json.broken")) {
		t.Errorf("the damaged state was not kept: %q", entries)
	}
}
