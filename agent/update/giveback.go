package update

import (
	"fmt"

	"tufboot/grub"
)

// Files in a folder that is empty after each boot (/run/tufboot), which say what has
// become of the boot's trial. Services and scripts beside the agent know them too.
const (
	// TrialDecided is left when the trial was committed.
	TrialDecided = "trial-decided"
	// TrialFailed is left by whoever ends a trial that was not committed, before the
	// reboot: that boot stays counted, however good the order is in which it ends.
	TrialFailed = "trial-failed"
)

// GiveBack keeps the running trial boot from being counted: the machine is being shut
// down in good order, and the trial is not decided. It returns false if nothing is on
// trial. The limit is kept in the state and written first: a run that is cut off
// between the two has used one up, and nothing is gained by that.
func (n *Node) GiveBack() (bool, error) {
	s, err := LoadState(n.StateDir, n.Logger)
	if err != nil {
		return false, err
	}
	f, err := n.facts(s)
	if err != nil {
		return false, err
	}
	if f.Situation() != SituationTrial {
		return false, nil
	}
	given, err := f.givenBack()
	if err != nil {
		return false, err
	}
	s.Trial.GivenBack, s.Trial.GivenBackIn = given+1, n.KernelID
	if err := s.Save(n.StateDir); err != nil {
		return false, err
	}
	err = n.changeBlock(fmt.Sprintf("give back trial boot %d of slot %s", f.Booted.Try, f.Booted.Slot), func(b grub.State) (grub.State, error) {
		return b.GiveBack(f.Booted, given)
	})
	return err == nil, err
}

// givenBack returns how many boots of the running trial were given back, or refuses
// where that is not known or the limit is reached.
func (f Facts) givenBack() (int, error) {
	var why string
	switch {
	case f.Trial == nil || f.Trial.BootID != f.Booted.BootID:
		why = "nothing is known of what was given back before: the state is lost"
	case f.gaveBack():
		why = "it was given back already"
	case f.Trial.GivenBack >= grub.MaxGiveBacks:
		why = fmt.Sprintf("%d boots of this trial were given back already", grub.MaxGiveBacks)
	default:
		return f.Trial.GivenBack, nil
	}
	return 0, refuse(ReasonTrialCounted, "there is nothing to do: after the last attempt GRUB rolls back; `agent healthcheck` decides the trial",
		"trial boot %d of slot %s stays counted: %s", f.Booted.Try, f.Booted.Slot, why)
}

// gaveBack reports whether the boot that is running was given back: the machine was
// about to be rebooted, and perhaps was not.
func (f Facts) gaveBack() bool {
	return f.Trial != nil && f.Trial.GivenBack > 0 && f.Trial.GivenBackIn == f.KernelID && f.Trial.BootID == f.Block.BootID &&
		f.Booted.Try == grub.Attempts-f.Block.Counter+1
}
