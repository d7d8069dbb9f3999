package grub

import "testing"

// checkedCases returns the combinations in which a slot has a list of what it should
// hold. Of the ways to damage a block there is one: GRUB tells none from another.
func checkedCases() []proofCase {
	type content struct {
		kernel bool
		sums   SumsResult
	}
	var contents []content
	for _, sums := range []SumsResult{SumsNone, SumsMatch, SumsDiffer} {
		contents = append(contents, content{true, sums})
		if sums != SumsMatch { // the list names the kernel
			contents = append(contents, content{false, sums})
		}
	}
	var all []proofCase
	add := func(c proofCase) {
		for _, s := range allStates() {
			c.state = s
			all = append(all, c)
		}
	}
	for _, check := range []CheckMode{CheckTrial, CheckAlways} {
		for _, a := range contents {
			for _, b := range contents {
				if a.sums == SumsNone && b.sums == SumsNone && check == CheckTrial {
					continue // that is everyCase
				}
				c := proofCase{kernelA: a.kernel, kernelB: b.kernel, check: check, sumsA: a.sums, sumsB: b.sums}
				for _, c.kind = range []blockKind{intact, unwritable} {
					add(c)
				}
				c.kind, c.state = zeroed, allStates()[0]
				for _, c.lastGood = range []Slot{"", SlotA, SlotB} {
					all = append(all, c)
				}
			}
		}
	}
	add(proofCase{kind: intact, kernelA: true, kernelB: true, check: CheckOff, sumsA: SumsDiffer, sumsB: SumsDiffer})
	return all
}

// checkNotCorrupt: a corrupt slot is booted, where a check is to be made, only if
// the other one may not be booted or is not known to be whole.
func checkNotCorrupt(t *testing.T, c proofCase, r proofResult) {
	slot := r.outcome.Slot
	other := slot.Other()
	checked := c.check == CheckAlways || c.check == CheckTrial && r.outcome.Try > 0
	better := c.state.OK(other) && c.facts().sums(other) == SumsMatch && c.facts().loads(other)
	// Marked as not bootable: it is booted since nothing else could be loaded.
	if checked && c.state.OK(slot) && slot == c.state.Active && c.facts().sums(slot) == SumsDiffer && better {
		t.Errorf("%+v: a corrupt slot was booted in the place of a whole one: %+v", c, r)
	}
	told := r.outcome.CorruptA && c.sumsA != SumsDiffer || r.outcome.CorruptB && c.sumsB != SumsDiffer
	untold := checked && c.facts().sums(slot) == SumsDiffer && slot == c.state.Active && c.state.OK(slot) &&
		!(Booted{CorruptA: r.outcome.CorruptA, CorruptB: r.outcome.CorruptB}).Corrupt(slot)
	if told || untold {
		t.Errorf("%+v: the kernel is not told what was found: %+v", c, r)
	}
}

// checkNoHarm: a check never keeps a machine from booting, and without a check, or
// without lists, all is as if there were none.
func checkNoHarm(t *testing.T, c proofCase, r proofResult, results map[proofCase]proofResult) {
	without := c
	without.check, without.sumsA, without.sumsB = CheckTrial, SumsNone, SumsNone
	plain, ok := results[without]
	if !ok {
		return // only a sample was booted
	}
	if plain.outcome.Slot != "" && r.outcome.Slot == "" {
		t.Errorf("%+v: nothing is booted; without the check it would be slot %s", c, plain.outcome.Slot)
	}
	idle := c.check == CheckOff || c.check == CheckTrial && !c.state.Trial() || c.sumsA == SumsNone && c.sumsB == SumsNone
	if idle && r != plain {
		t.Errorf("%+v: %+v, and without a check %+v", c, r, plain)
	}
}
