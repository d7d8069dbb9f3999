package grub

import (
	"errors"
	"fmt"
	"regexp"
)

// Slot names one of the two system partitions.
type Slot string

// The two slots. The zero Slot stands for "none".
const (
	SlotA Slot = "A"
	SlotB Slot = "B"
)

// ParseSlot returns the slot named by s, "A" or "B".
func ParseSlot(s string) (Slot, error) {
	switch slot := Slot(s); slot {
	case SlotA, SlotB:
		return slot, nil
	}
	return "", fmt.Errorf("slot %q is neither A nor B", s)
}

// Other returns the slot that s is not. Other of no slot is no slot.
func (s Slot) Other() Slot {
	switch s {
	case SlotA:
		return SlotB
	case SlotB:
		return SlotA
	}
	return ""
}

// Attempts is how many trial boots an armed slot gets before GRUB gives it up.
const Attempts = 3

// ErrTransition is wrapped by every refusal of a transition: the state does not
// allow it, and doing it would put the node at risk.
var ErrTransition = errors.New("boot state does not allow it")

var bootIDForm = regexp.MustCompile(`^[0-9a-f]{16}$`)

// State is the boot state as the environment block holds it. It is a value:
// no method writes anything.
type State struct {
	Active  Slot // active_slot: the slot that GRUB boots by default
	Counter int  // boot_counter: trial boots left, 0..Attempts
	Success bool // boot_success: the active slot is committed
	AOK     bool // A_ok: slot A may be booted
	BOK     bool // B_ok: slot B may be booted
	// BootID is the token of the trial that was armed last, 16 lower-case hex
	// digits, or "" when there is none. GRUB hands it to the kernel, so that the
	// agent can tell that the trial which came up is the one that it armed. GRUB
	// leaves it in place when it gives a slot up (see GaveUp).
	BootID string
}

// OK reports whether slot may be booted.
func (s State) OK(slot Slot) bool {
	switch slot {
	case SlotA:
		return s.AOK
	case SlotB:
		return s.BOK
	}
	return false
}

// Trial reports whether the active slot is on trial: armed, and neither marked
// good nor given up.
func (s State) Trial() bool { return !s.Success }

// GaveUp returns the slot whose trial GRUB ended by booting the other one, and
// the trial's BootID. ok is false when there is no such trial. It stays so until
// the agent's next transition.
func (s State) GaveUp() (slot Slot, bootID string, ok bool) {
	other := s.Active.Other()
	if s.Trial() || s.BootID == "" || s.OK(other) {
		return "", "", false
	}
	return other, s.BootID, true
}

// Invalidate returns the state in which slot must not be booted. The agent
// writes it before it writes to the slot. Refused while a trial is not decided,
// and for the active slot. Invalidate does not write.
func (s State) Invalidate(slot Slot) (State, error) {
	switch {
	case slot != SlotA && slot != SlotB:
		return s, refuse("invalidate", slot, "there is no such slot")
	case s.Trial():
		return s, refuse("invalidate", slot, "the trial of slot "+string(s.Active)+" is not decided")
	case slot == s.Active:
		return s, refuse("invalidate", slot, "it is the active slot")
	}
	s.BootID = ""
	s.Counter = 0
	return s.withOK(slot, false), nil
}

// Arm returns the state in which slot is active and on trial, with Attempts
// boots and the token bootID (16 lower-case hex digits, not all zero). Refused
// while a trial is not decided, for the active slot, and when the active slot,
// the way back, may not be booted. Arm does not write.
func (s State) Arm(slot Slot, bootID string) (State, error) {
	switch {
	case slot != SlotA && slot != SlotB:
		return s, refuse("arm", slot, "there is no such slot")
	case s.Trial():
		return s, refuse("arm", slot, "the trial of slot "+string(s.Active)+" is not decided")
	case slot == s.Active:
		return s, refuse("arm", slot, "it is the active slot already")
	case !s.OK(s.Active):
		return s, refuse("arm", slot, "slot "+string(s.Active)+" could not be booted if the trial failed")
	case !bootIDForm.MatchString(bootID) || bootID == noBootID:
		return s, refuse("arm", slot, fmt.Sprintf("%q is not a trial's token (16 lower-case hex digits, not all zero)", bootID))
	}
	s.Active, s.Counter, s.Success, s.BootID = slot, Attempts, false, bootID
	return s.withOK(slot, true), nil
}

// MarkGood returns the state in which the active slot, so far on trial, is
// committed. A committed state is returned as it is. Refused when GRUB gave the
// active slot up. MarkGood does not write.
func (s State) MarkGood() (State, error) {
	if s.Success {
		return s, nil
	}
	if !s.OK(s.Active) {
		return s, refuse("mark good", s.Active, "it was given up")
	}
	s.Success, s.Counter, s.BootID = true, 0, ""
	return s, nil
}

// Rollback returns the state in which slot to is active and committed. If the
// other slot was on trial, it is given up, as GRUB does it: its X_ok is 0 from
// then on, and BootID stays (see GaveUp). Refused
// when slot to may not be booted. Rollback does not write.
func (s State) Rollback(to Slot) (State, error) {
	switch {
	case to != SlotA && to != SlotB:
		return s, refuse("roll back to", to, "there is no such slot")
	case !s.OK(to):
		return s, refuse("roll back to", to, "it is marked as not bootable")
	case to == s.Active && s.Trial():
		return s, refuse("roll back to", to, "it is the slot on trial")
	case to == s.Active:
		return s, nil
	}
	if s.Trial() {
		s = s.withOK(s.Active, false)
	} else {
		s.BootID = ""
	}
	s.Active, s.Success, s.Counter = to, true, 0
	return s, nil
}

func (s State) withOK(slot Slot, ok bool) State {
	if slot == SlotA {
		s.AOK = ok
	} else {
		s.BOK = ok
	}
	return s
}

// transitionError is a refused transition; it wraps ErrTransition.
type transitionError struct {
	verb, why string
	slot      Slot
}

func refuse(verb string, slot Slot, why string) error {
	return &transitionError{verb: verb, slot: slot, why: why}
}

func (e *transitionError) Error() string {
	return fmt.Sprintf("%s slot %s: %s", e.verb, e.slot, e.why)
}
func (e *transitionError) Unwrap() error      { return ErrTransition }
func (e *transitionError) ExitCode() int      { return 3 }
func (e *transitionError) ReasonCode() string { return "boot-state" }
