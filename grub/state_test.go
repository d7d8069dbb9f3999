package grub

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var fixedTime = time.Unix(1_000_000_000, 0)

const trialID = "feedfacecafebeef"

// TestTransitions checks, from every state, what each transition may do and what
// it must never do.
func TestTransitions(t *testing.T) {
	for _, s := range allStates() {
		for _, slot := range []Slot{SlotA, SlotB} {
			checkInvalidate(t, s, slot)
			checkArm(t, s, slot)
			checkRollback(t, s, slot)
		}
		checkMarkGood(t, s)
	}
}

// refused reports whether err is a proper refusal that left the state alone.
func refused(t *testing.T, s, got State, err error) bool {
	t.Helper()
	if err == nil {
		return false
	}
	var coded interface {
		ExitCode() int
		ReasonCode() string
	}
	if got != s || !errors.Is(err, ErrTransition) || !errors.As(err, &coded) || coded.ExitCode() != 3 {
		t.Errorf("%+v: refusal %v left %+v", s, err, got)
	}
	return true
}

func checkInvalidate(t *testing.T, s State, slot Slot) {
	t.Helper()
	got, err := s.Invalidate(slot)
	if refused(t, s, got, err) != (s.Trial() || slot == s.Active) {
		t.Errorf("%+v: Invalidate(%s): %v", s, slot, err)
	}
	if err == nil && (got.OK(slot) || got.OK(slot.Other()) != s.OK(slot.Other()) || got.Active != s.Active || got.Trial()) {
		t.Errorf("%+v: Invalidate(%s) = %+v", s, slot, got)
	}
}

func checkArm(t *testing.T, s State, slot Slot) {
	t.Helper()
	got, err := s.Arm(slot, trialID)
	if refused(t, s, got, err) != (s.Trial() || slot == s.Active || !s.OK(s.Active)) {
		t.Errorf("%+v: Arm(%s): %v", s, slot, err)
	}
	want := State{Active: slot, Counter: Attempts, AOK: true, BOK: true, BootID: trialID}
	if err == nil && got != want {
		t.Errorf("%+v: Arm(%s) = %+v", s, slot, got)
	}
}

func checkMarkGood(t *testing.T, s State) {
	t.Helper()
	got, err := s.MarkGood()
	if refused(t, s, got, err) != (s.Trial() && !s.OK(s.Active)) {
		t.Errorf("%+v: MarkGood: %v", s, err)
	}
	if err == nil && (got.Trial() || got.Active != s.Active || got.AOK != s.AOK || got.BOK != s.BOK) {
		t.Errorf("%+v: MarkGood = %+v", s, got)
	}
}

func checkRollback(t *testing.T, s State, to Slot) {
	t.Helper()
	got, err := s.Rollback(to)
	if refused(t, s, got, err) != (!s.OK(to) || to == s.Active && s.Trial()) {
		t.Errorf("%+v: Rollback(%s): %v", s, to, err)
	}
	if err != nil {
		return
	}
	if got.Active != to || got.Trial() || !got.OK(to) || s.Trial() && got.OK(to.Other()) {
		t.Errorf("%+v: Rollback(%s) = %+v", s, to, got)
	}
}

func TestTransitionsRefuseBadArguments(t *testing.T) {
	s := State{Active: SlotA, Success: true, AOK: true, BOK: true}
	for _, id := range []string{"", noBootID, "xyz", strings.ToUpper(trialID), trialID + "0"} {
		if got, err := s.Arm(SlotB, id); !refused(t, s, got, err) {
			t.Errorf("Arm with token %q was not refused", id)
		}
	}
	for _, slot := range []Slot{"", "C"} {
		if got, err := s.Invalidate(slot); !refused(t, s, got, err) {
			t.Errorf("Invalidate(%q) was not refused", slot)
		}
		if got, err := s.Arm(slot, trialID); !refused(t, s, got, err) {
			t.Errorf("Arm(%q) was not refused", slot)
		}
		if got, err := s.Rollback(slot); !refused(t, s, got, err) {
			t.Errorf("Rollback(%q) was not refused", slot)
		}
	}
}

// TestModelIsSafe checks the safety claims on the model, for every state of a
// node; TestGRUBDecidesAsTheModel checks them on GRUB.
func TestModelIsSafe(t *testing.T) {
	results := make(map[proofCase]proofResult)
	for _, c := range everyCase() {
		var r proofResult
		r.after, r.outcome = c.state.Boot(c.facts())
		results[c] = r
	}
	checkAll(t, results)
}

// TestUpdateThatNeverComesUp follows a whole update whose release is bad.
func TestUpdateThatNeverComesUp(t *testing.T) {
	s := State{Active: SlotA, Success: true, AOK: true, BOK: true}
	s = must(t)(s.Invalidate(SlotB))
	s = must(t)(s.Arm(SlotB, trialID))
	for try := 1; try <= Attempts; try++ {
		var o Outcome
		if s, o = s.Boot(Facts{}); o != (Outcome{Slot: SlotB, BootID: trialID, Try: try}) {
			t.Fatalf("trial boot %d: %+v", try, o)
		}
	}
	for range 3 {
		var o Outcome
		if s, o = s.Boot(Facts{}); o != (Outcome{Slot: SlotA, BootID: trialID}) {
			t.Fatalf("after the trial: %+v", o)
		}
		if slot, id, ok := s.GaveUp(); slot != SlotB || id != trialID || !ok {
			t.Errorf("GaveUp = %s, %s, %v", slot, id, ok)
		}
	}
	if _, err := s.Rollback(SlotB); err == nil {
		t.Error("the slot that was given up can be made active again without being written")
	}
	s = must(t)(s.Invalidate(SlotB))
	if _, _, ok := s.GaveUp(); ok {
		t.Error("the trial is still reported after the agent went on")
	}
}

// TestPowerCutsNeverRollBackACommittedSlot: any number of boots changes nothing.
func TestPowerCutsNeverRollBackACommittedSlot(t *testing.T) {
	s := State{Active: SlotA, Success: true, AOK: true, BOK: true}
	s = must(t)(s.Arm(SlotB, trialID))
	s, _ = s.Boot(Facts{})
	s = must(t)(s.MarkGood())
	for range 10 * Attempts {
		after, o := s.Boot(Facts{})
		if after != s || o.Slot != SlotB {
			t.Fatalf("%+v, %+v", after, o)
		}
	}
}

func must(t *testing.T) func(State, error) State {
	return func(s State, err error) State {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestSlot(t *testing.T) {
	for in, want := range map[string]Slot{"A": SlotA, "B": SlotB, "": "", "a": "", "AB": ""} {
		if got, err := ParseSlot(in); got != want || (err == nil) != (want != "") {
			t.Errorf("ParseSlot(%q) = %q, %v", in, got, err)
		}
	}
	if SlotA.Other() != SlotB || SlotB.Other() != SlotA || Slot("").Other() != "" {
		t.Error("Other")
	}
}
