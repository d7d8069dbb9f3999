package main

import (
	"context"
	"fmt"

	"tufboot/grub"
)

// The verbs that a node's start is made of, and what an operator asks before and after.
const (
	verbStatus = "status"
	verbGate   = "healthcheck"
	verbUpdate = "update"
)

// start is what the agent did after a boot.
type start struct {
	forgot              string // why it had to do without DATA
	before, gate, after answer
	state               grub.State // after the gate
	broken              string     // why there is no state
	lastGood            []byte
}

// agent boots nothing: it starts the agent on a disk that GRUB has booted, and compares
// what it says, before and after its health gate, with the truth. The disk is left as
// it was.
func (h *hearing) agent(ctx context.Context, b boot) error {
	if h.node == nil {
		return nil
	}
	state, err := h.state()
	if err != nil {
		return nil //nolint:nilerr // firstBoot says so
	}
	t := truth{booted: b, state: state, slots: map[grub.Slot]content{}, releases: h.releases, candidate: h.cut.story.candidate}
	for _, slot := range []grub.Slot{grub.SlotA, grub.SlotB} {
		if t.slots[slot], err = h.slot(ctx, slot); err != nil {
			return err
		}
	}
	unwell := h.unwell(t.running())
	did, err := h.start(ctx, b, unwell)
	if err != nil {
		return err
	}
	h.asked++
	if did.forgot != "" {
		h.forgot++
		t.forgot = true
	}
	h.compare("before its health gate", t, did.before)
	if did.broken != "" {
		h.fail(startsUp, "after the health gate the environment block is damaged: %s", did.broken)
		return nil
	}
	h.decided(t, did, unwell)
	t.state, t.settled = did.state, true
	if !unwell {
		h.compare("after its health gate", t, did.after)
	}
	return nil
}

// unwell reports whether the health gate of a release fails.
func (h *hearing) unwell(version string) bool {
	return version == h.cut.story.candidate && !h.cut.story.healthy
}

// start runs the agent, or remembers what it did on a disk like this.
func (h *hearing) start(ctx context.Context, b boot, unwell bool) (start, error) {
	key := fmt.Sprint(b.cmdline(), unwell)
	for _, at := range []int64{h.envAt, h.node.goodAt} { // not read through the disk
		block, err := h.disk.read(at, grub.BlockSize)
		if err != nil {
			return start{}, err
		}
		key += string(block)
	}
	return h.starts.ask(h.disk, key, func() (s start, err error) {
		answers, forgot, err := h.node.run(ctx, b, unwell, verbStatus, verbGate, verbStatus)
		if err != nil {
			return s, err
		}
		s.forgot = forgot
		s.before, s.gate, s.after = answers[0], answers[1], answers[2]
		if s.state, err = h.state(); err != nil {
			s.broken = err.Error()
		}
		s.lastGood, err = h.disk.read(h.node.goodAt, grub.BlockSize)
		return s, err
	}, nil)
}

// compare finds the lies in a status.
func (h *hearing) compare(when string, t truth, a answer) {
	s, err := parseStatus(a)
	if err != nil {
		h.fail(startsUp, "%s: %v", when, err)
		return
	}
	for _, lie := range t.lies(s) {
		h.fail(truthful, "%s, in slot %s: %s", when, t.booted.Slot, lie)
	}
}

// decided looks at what the health gate did: a healthy trial is committed, an unhealthy
// one is not, and without a trial nothing changes.
func (h *hearing) decided(t truth, did start, unwell bool) {
	want, code := t.state, 0
	switch trial := t.state.Trial() && t.booted.Slot == t.state.Active; {
	case unwell:
		code = 5
	case trial:
		want.Success, want.Counter, want.BootID = true, 0, ""
	}
	if did.gate.code != code || did.state != want {
		h.fail(startsUp, "the health gate of %q in slot %s leaves %+v of %+v: %s", t.running(), t.booted.Slot, did.state, t.state, did.gate)
		return
	}
	if good := grub.LastGoodBlock(t.booted.Slot); code == 0 && t.booted.Slot == want.Active && string(did.lastGood) != string(good) {
		h.fail(startsUp, "the health gate commits slot %s and leaves last-good %q", t.booted.Slot, did.lastGood)
	}
}
