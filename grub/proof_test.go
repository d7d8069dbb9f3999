package grub

import (
	"bytes"
	"fmt"
	"testing"
)

// blockKind is what has happened to the environment block.
type blockKind string

const (
	intact     blockKind = "intact"
	unwritable blockKind = "unwritable"
	missing    blockKind = "missing"
	empty      blockKind = "empty"
	zeroed     blockKind = "zeroed"
	crlf       blockKind = "crlf"
	cutHeader  blockKind = "truncated in the header"
	cutBehind  blockKind = "truncated behind the header"
	cutLast    blockKind = "truncated in our last variable"
	cutUnused  blockKind = "truncated behind our variables"
)

// damages reports whether GRUB can see the damage. A block that lost nothing but
// its second sector still has the whole boot state.
func (k blockKind) damages() bool {
	return k != intact && k != unwritable && k != cutUnused
}

// content returns what the file holds; nil if it is missing.
func (k blockKind) content(block []byte) []byte {
	last := bytes.Index(block, []byte(varActive)) + len(varActive)
	switch k {
	case missing:
		return nil
	case empty:
		return []byte{}
	case zeroed:
		return make([]byte, BlockSize)
	case crlf:
		return bytes.ReplaceAll(block, []byte("\n"), []byte("\r\n"))
	case cutHeader:
		return block[:10]
	case cutBehind:
		return block[:len(blockHeader)]
	case cutLast:
		return block[:last+2]
	case cutUnused:
		return block[:sectorSize]
	}
	return block
}

// proofCase is one state of a node before a boot.
type proofCase struct {
	kind     blockKind
	state    State
	lastGood Slot
	kernelA  bool
	kernelB  bool
	check    CheckMode
	sumsA    SumsResult
	sumsB    SumsResult
}

func (c proofCase) facts() Facts {
	return Facts{
		Damaged:    c.kind.damages(),
		Unwritable: c.kind == unwritable,
		LastGood:   c.lastGood,
		NoKernelA:  !c.kernelA,
		NoKernelB:  !c.kernelB,
		Check:      c.check,
		SumsA:      c.sumsA,
		SumsB:      c.sumsB,
	}
}

func (c proofCase) block(t testing.TB) []byte {
	b := NewBlock()
	if err := Encode(b, c.state); err != nil {
		t.Fatal(err)
	}
	return c.kind.content(b.Bytes())
}

// allStates returns every boot state that a block can hold.
func allStates() []State {
	var all []State
	for i := range 1 << 6 {
		bit := func(n int) bool { return i>>n&1 == 1 }
		s := State{Active: SlotA, Counter: i & 3, Success: bit(2), AOK: bit(3), BOK: bit(4), BootID: "0123456789abcdef"}
		if bit(5) {
			s.Active = SlotB
		}
		all = append(all, s)
	}
	return all
}

// everyCase returns every combination of what can be on a node's disk.
func everyCase() []proofCase {
	kinds := []blockKind{intact, unwritable, missing, empty, zeroed, crlf, cutHeader, cutBehind, cutLast, cutUnused}
	var all []proofCase
	for _, kind := range kinds {
		for i := range 4 {
			for _, lastGood := range []Slot{"", SlotA, SlotB} {
				for _, s := range allStates() {
					all = append(all, proofCase{kind: kind, state: s, lastGood: lastGood, kernelA: i&1 == 0, kernelB: i&2 == 0, check: CheckTrial})
				}
			}
		}
	}
	return all
}

// proofCases returns every combination; with -short, every seventh of them.
func proofCases() []proofCase {
	all := append(everyCase(), checkedCases()...)
	if !testing.Short() {
		return all
	}
	var some []proofCase
	for i := 0; i < len(all); i += 7 {
		some = append(some, all[i])
	}
	return some
}

// proofResult is what GRUB did with a case.
type proofResult struct {
	after   State // of a damaged block: as it was, if the file was not touched
	outcome Outcome
}

// TestGRUBDecidesAsTheModel runs the real grub.cfg on the real GRUB for every
// state that a node can be in, and compares what it boots and what it leaves in
// the block with State.Boot. Then it checks what both must hold.
func TestGRUBDecidesAsTheModel(t *testing.T) {
	cases := proofCases()
	p := newParts(t)
	results, boots := runAll(t, p, cases)
	for _, c := range cases {
		wantAfter, wantOutcome := c.state.Boot(c.facts())
		got := results[c]
		if got.after != wantAfter || got.outcome != wantOutcome {
			t.Errorf("%+v:\nGRUB:  %+v\nmodel: %+v", c, got, proofResult{wantAfter, wantOutcome})
		}
	}
	if t.Failed() {
		return
	}
	checkAll(t, results)
	fmt.Printf("proof: %d states of a node, %d different disks, booted on the real GRUB: all as the model says\n", len(cases), boots)
}

// checkAll checks the safety claims on what GRUB did, without asking the model.
func checkAll(t *testing.T, results map[proofCase]proofResult) {
	for c, r := range results {
		checkNoHarm(t, c, r, results)
		if r.outcome.Slot == "" {
			checkNothingBoots(t, c)
			continue
		}
		if !c.facts().loads(r.outcome.Slot) {
			t.Errorf("%+v: booted a slot without a kernel", c)
		}
		if !c.kind.damages() {
			checkProvenOrCounted(t, c, r)
			checkNotCorrupt(t, c, r)
			checkChain(t, c, results)
		}
	}
}

// checkProvenOrCounted: a slot that is not proven is booted only if that boot was
// counted, and the kernel was told so.
func checkProvenOrCounted(t *testing.T, c proofCase, r proofResult) {
	slot := r.outcome.Slot
	onTrial := c.state.Trial() && slot == c.state.Active
	counted := r.after.Counter == c.state.Counter-1 && r.outcome.Try == Attempts-r.after.Counter && r.after.Trial()
	committed := c.state.Success && slot == c.state.Active
	switch {
	case onTrial && !counted:
		t.Errorf("%+v: slot on trial booted uncounted: %+v", c, r)
	case !onTrial && r.outcome.Try != 0:
		t.Errorf("%+v: not a trial, but the kernel is told so: %+v", c, r)
	case !c.state.OK(slot) && !committed:
		t.Errorf("%+v: slot booted although it may not be: %+v", c, r)
	case c.state.Success && r.after != c.state:
		t.Errorf("%+v: a committed state was changed: %+v", c, r)
	}
}

// checkNothingBoots: GRUB boots nothing only if every slot that it may boot lacks
// its kernel.
func checkNothingBoots(t *testing.T, c proofCase) {
	for _, slot := range []Slot{SlotA, SlotB} {
		committed := c.state.Success && slot == c.state.Active
		proven := c.state.OK(slot) && slot != c.state.Active
		countable := c.state.Trial() && slot == c.state.Active && c.state.OK(slot) && c.state.Counter > 0 && c.kind != unwritable
		if c.facts().loads(slot) && (c.kind.damages() || committed || proven || countable) {
			t.Errorf("%+v: nothing is booted, but slot %s could be", c, slot)
		}
	}
}

// checkChain follows one boot after the other, none of which ends well: the state
// comes to rest, the active slot changes at most once, and a slot on trial is not
// booted more than Attempts times.
func checkChain(t *testing.T, c proofCase, results map[proofCase]proofResult) {
	start, trials, switches := c, 0, 0
	for boot := 0; ; boot++ {
		r, ok := results[c]
		if !ok {
			return // only a sample was booted
		}
		if r.outcome.Try > 0 {
			trials++
		}
		if r.after.Active != c.state.Active {
			switches++
		}
		if r.after == c.state {
			break
		}
		if boot > Attempts {
			t.Errorf("%+v: not decided after %d boots", start, boot)
			return
		}
		c.state = r.after
	}
	if trials > Attempts || switches > 1 {
		t.Errorf("%+v: %d trial boots, %d changes of the active slot", start, trials, switches)
	}
	rest := results[c].outcome.Slot
	if rest != "" && start.state.Trial() && rest == start.state.Active {
		t.Errorf("%+v: a trial that never ended well ends in its own slot", start)
	}
}
