package update

import (
	"context"
	"errors"
	"fmt"

	"tufboot/grub"
)

// settle brings the agent's memory and the environment block together after a
// reboot or a crash, and returns what holds then. Running it again changes
// nothing.
func (n *Node) settle(ctx context.Context) (State, Facts, Situation, error) {
	s, err := n.load()
	if err != nil {
		return s, Facts{}, "", err
	}
	// Each round settles one thing; the second sees the outcome of the first.
	for range 3 {
		f, err := n.facts(s)
		if err != nil {
			return s, f, "", err
		}
		situation := f.Situation()
		// The memory comes first: the block still tells what happened if the
		// run is cut off here, and after the block is mended nothing would.
		next, changed := n.settled(s, f, situation)
		if changed {
			if err := n.save(next); err != nil {
				return s, f, situation, err
			}
		}
		s = next
		mended, err := n.mend(ctx, f, situation)
		if err != nil {
			return s, f, situation, err
		}
		if !changed && !mended {
			return s, f, situation, nil
		}
	}
	return s, Facts{}, "", errors.New("the environment block changes while it is read: is another program writing it?")
}

// settled returns what the agent remembers once the outcome of the last trial
// is known. It does not write.
func (n *Node) settled(s State, f Facts, situation Situation) (State, bool) {
	switch situation {
	case SituationRolledBack, SituationTrialLost:
		why := "the slot did not come up: it could not be loaded, hung, panicked, or was cut off before the health gate decided"
		if s.Trial == nil {
			return s, false
		}
		switch {
		case f.Booted.Corrupt(s.Trial.Slot):
			why = corruptSlot
		case s.Trial.Unhealthy != "":
			why = "unhealthy: " + s.Trial.Unhealthy
		}
		n.Logger.Error("a release was rolled back", "version", s.Trial.Version, "release", s.Trial.Release, "slot", s.Trial.Slot, "why", why)
		s = s.remember(Failure{Release: s.Trial.Release, Version: s.Trial.Version, Why: why, At: n.Now().UTC()})
		s.Staged = nil
	case SituationJustCommitted:
		s = s.forget(s.Trial.Release)
		s.Staged = nil
	case SituationNeverArmed:
	default:
		return s, false
	}
	s.Trial = nil
	return s, true
}

// corruptSlot is why a release was given up that nothing is wrong with.
const corruptSlot = "GRUB found before the boot that the slot no longer held what had been written to it: look at the storage device"

// mend writes to the ESP what the situation calls for, and reports whether the
// boot state is another one then.
func (n *Node) mend(ctx context.Context, f Facts, situation Situation) (bool, error) {
	switch {
	case situation == SituationJustCommitted:
		return false, n.refreshLastGood(f.Block.Active)
	case situation == SituationTrialLost:
		return true, n.activateBooted("give the trial up: its slot could not be booted", f)
	case situation == SituationOtherSlot && f.Block.OK(f.Booted.Slot) && n.goneBad(ctx, f.Block.Active):
		// Nobody chose this: GRUB fell back to the proven slot, because the
		// active one has gone bad. Waiting for a person would be for ever.
		n.Logger.Error("the active slot does not hold a whole release; the booted one takes its place", "slot", f.Block.Active)
		return true, n.activateBooted("make the booted slot active: the other one has gone bad", f)
	case situation == SituationDamaged && f.Booted.Slot != "":
		return true, n.repair(f)
	}
	return false, nil
}

func (n *Node) activateBooted(why string, f Facts) error {
	if err := n.writable(); err != nil {
		return err
	}
	return n.changeBlock(why, func(s grub.State) (grub.State, error) {
		return s.Rollback(f.Booted.Slot)
	})
}

func (n *Node) repair(f Facts) error {
	if err := n.writable(); err != nil {
		return err
	}
	if n.dry != nil {
		n.dry.change("repair the environment block", f.rebuilt())
		return nil
	}
	n.Logger.Warn("the environment block is damaged; it is made anew from what is running", "error", f.BlockErr)
	err := n.withBlock(false, func(e grub.Env) error {
		return e.Repair(f.rebuilt())
	})
	if err != nil {
		return fmt.Errorf("repair the environment block: %w", err)
	}
	return nil
}

// rebuilt returns the block's content as the running kernel proves it. A
// running trial stays a trial, with the attempts that GRUB has counted; the
// other slot was committed when it was armed, and only the inactive slot is
// ever written, so it is bootable. Without a trial nothing is known of the
// other slot, and it must be written before it is booted. (If GRUB had to leave
// last-good's slot too, because it does not load, the running one is committed
// without a trial: nothing else is left to roll back to.)
func (f Facts) rebuilt() grub.State {
	trial := f.Booted.Try > 0
	s := grub.State{
		Active:  f.Booted.Slot,
		Success: !trial,
		AOK:     trial || f.Booted.Slot == grub.SlotA,
		BOK:     trial || f.Booted.Slot == grub.SlotB,
	}
	if trial {
		s.BootID = f.Booted.BootID
		s.Counter = max(grub.Attempts-f.Booted.Try, 0)
	}
	return s
}

// refreshLastGood makes last-good name the slot. The ESP is opened for writing
// only if it does not.
func (n *Node) refreshLastGood(slot grub.Slot) error {
	fresh := false
	err := n.withBlock(true, func(e grub.Env) error {
		good, err := e.ReadLastGood()
		fresh = err == nil && good == slot
		return nil
	})
	if err != nil || fresh {
		return err
	}
	if n.dry != nil {
		return n.writable()
	}
	return n.withBlock(false, func(e grub.Env) error { return e.WriteLastGood(slot) })
}
