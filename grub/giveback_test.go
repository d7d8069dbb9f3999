package grub

import "testing"

// TestGiveBack checks, from every state and for everything that a kernel can have been
// told, that a boot is given back only if it is the counted boot of the trial in the
// block, and that nothing but the count changes.
func TestGiveBack(t *testing.T) {
	given := 0
	for _, s := range allStates() {
		for _, slot := range []Slot{"", SlotA, SlotB} {
			for _, id := range []string{"", s.BootID, trialID} {
				for try := range Attempts + 1 {
					for before := -1; before <= MaxGiveBacks+1; before++ {
						given += checkGiveBack(t, s, Booted{Slot: slot, BootID: id, Try: try}, before)
					}
				}
			}
		}
	}
	// Two slots, three counts, the other slot may be booted or not, three of the limit.
	if want := 2 * Attempts * 2 * MaxGiveBacks; given != want {
		t.Errorf("given back in %d cases, want %d", given, want)
	}
}

func checkGiveBack(t *testing.T, s State, b Booted, before int) int {
	t.Helper()
	got, err := s.GiveBack(b, before)
	mine := b.Slot == s.Active && b.BootID == s.BootID && b.Try > 0 && b.Try == Attempts-s.Counter
	allowed := s.Trial() && s.OK(s.Active) && mine && before >= 0 && before < MaxGiveBacks
	if refused(t, s, got, err) == allowed {
		t.Errorf("%+v: GiveBack(%+v, %d): %v", s, b, before, err)
	}
	if err != nil {
		return 0
	}
	want := s
	want.Counter++
	if got != want || got.Counter > Attempts {
		t.Errorf("%+v: GiveBack(%+v, %d) = %+v", s, b, before, got)
	}
	if again, err := got.GiveBack(b, before+1); err == nil {
		t.Errorf("%+v: the same boot was given back twice: %+v", s, again)
	}
	return 1
}

// walk follows one machine on which nothing is ever decided.
type walk struct {
	t      *testing.T
	facts  Facts
	start  State
	ends   int
	longer int // walks on which more boots ran than Attempts
}

// TestEveryTrialEnds tries every order in which the boots of a trial that is never
// decided can end, in good order (and then given back, if that is allowed) or not: the
// trial ends after Attempts+MaxGiveBacks boots at most, each of them counted, and with
// the other slot.
func TestEveryTrialEnds(t *testing.T) {
	ends, longer := 0, 0
	for _, s := range allStates() {
		for i := range 1 << 3 {
			w := walk{t: t, start: s, facts: Facts{NoKernelA: i&1 != 0, NoKernelB: i&2 != 0, Unwritable: i&4 != 0}}
			if s.Trial() {
				w.boot(s, 0, 0)
			}
			ends, longer = ends+w.ends, longer+w.longer
		}
	}
	if ends == 0 || longer == 0 {
		t.Errorf("%d ends, %d of them after more than %d boots", ends, longer, Attempts)
	}
}

// boot is the next boot of a machine that has had boots trial boots, given of them
// given back.
func (w *walk) boot(s State, boots, given int) {
	after, o := s.Boot(w.facts)
	if o.Slot != w.start.Active || !after.Trial() {
		w.end(after, o, boots)
		return
	}
	boots++
	if after.Counter != s.Counter-1 || o.Try != Attempts-after.Counter {
		w.t.Errorf("%+v: booted uncounted after %d boots: %+v, %+v", w.start, boots, after, o)
	}
	if boots > Attempts+MaxGiveBacks {
		w.t.Errorf("%+v, %+v: %d boots, and no end", w.start, w.facts, boots)
		return
	}
	w.boot(after, boots, given) // a panic, a reset, a power cut, a reboot by the gate
	if back, err := after.GiveBack(Booted{Slot: o.Slot, BootID: o.BootID, Try: o.Try}, given); err == nil {
		w.boot(back, boots, given+1)
	}
}

func (w *walk) end(s State, o Outcome, boots int) {
	w.ends++
	if boots > Attempts {
		w.longer++
	}
	if s.OK(s.Active.Other()) && s.Active != w.start.Active {
		w.t.Errorf("%+v: the slot that was given up may be booted: %+v", w.start, s)
	}
	if o.Slot == w.start.Active || o.Slot == "" && w.start.OK(w.start.Active.Other()) && w.facts.loads(w.start.Active.Other()) {
		w.t.Errorf("%+v, %+v: ends in %+v", w.start, w.facts, o)
	}
}
