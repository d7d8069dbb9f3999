package grub

// Facts are what GRUB meets at one boot, beside the boot state.
type Facts struct {
	// Damaged: the environment block cannot be used (see ErrDamaged).
	Damaged bool
	// Unwritable: save_env fails, or the block read again is not what was saved.
	Unwritable bool
	// LastGood is the slot that last-good names; "" if it cannot be used.
	LastGood Slot
	// NoKernelA and NoKernelB: the slot's partition, kernel, initramfs or arguments
	// are missing or cannot be loaded.
	NoKernelA, NoKernelB bool
	// Check says before which boots slots are checked; "" is CheckOff.
	Check CheckMode
	// SumsA and SumsB are what a check of the slot finds.
	SumsA, SumsB SumsResult
}

// SumsResult is what comes out when a slot is compared with its SumsFile.
type SumsResult int

// The results. A slot without a SumsFile has none.
const (
	SumsNone SumsResult = iota
	SumsMatch
	SumsDiffer
)

func (f Facts) sums(slot Slot) SumsResult {
	if slot == SlotA {
		return f.SumsA
	}
	return f.SumsB
}

// loads reports whether slot's kernel can be loaded.
func (f Facts) loads(slot Slot) bool {
	switch slot {
	case SlotA:
		return !f.NoKernelA
	case SlotB:
		return !f.NoKernelB
	}
	return false
}

// Outcome is what GRUB boots.
type Outcome struct {
	// Slot is the slot whose kernel is started; "" if none: GRUB then waits a while
	// and reboots. The other fields are zero then.
	Slot Slot
	// BootID and Try are handed to the kernel (see Booted).
	BootID string
	Try    int
	// CorruptA and CorruptB: the check found that the slot does not hold what was
	// written to it. The kernel is told (see Booted).
	CorruptA, CorruptB bool
}

// passOver reports whether the other slot has to take the place of slot: this one is
// corrupt, and the other one, if it may be booted, certainly is not. So a check
// never keeps a machine from booting that would boot without it. What was found
// is noted in o.
func (f Facts) passOver(o *Outcome, slot Slot, otherOK bool) bool {
	if f.sums(slot) != SumsDiffer {
		return false
	}
	o.noteCorrupt(slot)
	if !otherOK {
		return false
	}
	if f.sums(slot.Other()) == SumsDiffer {
		o.noteCorrupt(slot.Other())
	}
	return f.sums(slot.Other()) == SumsMatch
}

func (o *Outcome) noteCorrupt(slot Slot) {
	if slot == SlotA {
		o.CorruptA = true
	} else {
		o.CorruptB = true
	}
}

// Boot is the model of grub.cfg: given the state in the block and the facts, it
// returns the state in the block afterwards and what is booted. It does not
// write; of a damaged block the state means nothing and is returned as it is.
//
//   - Committed: the active slot; if it cannot be loaded, the other one if it may be
//     booted; nothing is written, so the next boot tries the same again.
//   - On trial: one is taken off the count and saved, then the slot is booted,
//     counted. If the count cannot be saved, the other slot is booted instead.
//   - On trial with nothing left, or with a kernel that cannot be loaded: the slot is
//     given up, and the other one booted if it may be.
//   - Damaged block: the slot of last-good, or A; then the other one, of which
//     nothing bad is known.
//   - With CheckTrial, before a trial boot that was counted: a corrupt slot is given up
//     if the other one may be booted and is whole; else it is booted. With
//     CheckAlways, also before every other boot: the whole slot is booted in the place
//     of the corrupt one, and nothing is written.
func (s State) Boot(f Facts) (State, Outcome) {
	if f.Damaged {
		first := f.LastGood
		if first == "" {
			first = SlotA
		}
		var o Outcome
		order := []Slot{first, first.Other()}
		if f.Check == CheckAlways && f.passOver(&o, first, true) {
			order = []Slot{first.Other(), first}
		}
		return s, f.start(o, order...)
	}
	if s.Success {
		return s, s.bootCommitted(f)
	}
	return s.bootTrial(f)
}

func (s State) bootCommitted(f Facts) Outcome {
	var order []Slot
	for _, slot := range []Slot{s.Active, s.Active.Other()} {
		if s.OK(slot) {
			order = append(order, slot)
		}
	}
	if !s.OK(s.Active) {
		// It was good once, and it is better than never to boot again.
		order = append(order, s.Active)
	}
	o := Outcome{BootID: s.BootID}
	if f.Check == CheckAlways && s.OK(s.Active) && f.passOver(&o, s.Active, s.OK(s.Active.Other())) {
		order = []Slot{s.Active.Other(), s.Active}
	}
	return f.start(o, order...)
}

func (s State) bootTrial(f Facts) (State, Outcome) {
	on := Outcome{BootID: s.BootID}
	if s.OK(s.Active) && s.Counter > 0 {
		if f.Unwritable {
			return s, f.start(on, s.proven()...)
		}
		s.Counter--
		checked := f.Check == CheckTrial || f.Check == CheckAlways
		corrupt := checked && f.passOver(&on, s.Active, s.OK(s.Active.Other()))
		if !corrupt && f.loads(s.Active) {
			on.Slot, on.Try = s.Active, Attempts-s.Counter
			return s, on
		}
	}
	proven := s.proven()
	if !f.Unwritable {
		s = s.giveUp()
	}
	return s, f.start(on, proven...)
}

// proven returns the slot to boot instead of the one on trial, if there is one.
func (s State) proven() []Slot {
	if other := s.Active.Other(); s.OK(other) {
		return []Slot{other}
	}
	return nil
}

// giveUp ends the trial of the active slot: for good, until the agent arms again.
func (s State) giveUp() State {
	other := s.Active.Other()
	s = s.withOK(s.Active, false)
	if s.OK(other) {
		s.Active, s.Success, s.Counter = other, true, 0
	}
	return s
}

// start returns o with the first of slots whose kernel can be loaded, or the zero
// Outcome if there is none.
func (f Facts) start(o Outcome, slots ...Slot) Outcome {
	for _, slot := range slots {
		if f.loads(slot) {
			o.Slot = slot
			return o
		}
	}
	return Outcome{}
}
