package grub

import "fmt"

// MaxGiveBacks is how many boots of one trial are given back at most. So a trial has
// Attempts+MaxGiveBacks boots at most, and a release that reboots the machine in
// good order before it is judged is rolled back all the same.
const MaxGiveBacks = 3

// GiveBack returns the state in which the trial boot that is running, booted, is not
// counted. It is for a machine that is shut down or rebooted in good order before its
// trial is decided: GRUB took one off before this boot, and nothing was seen of the
// release that speaks against it. given is how many boots of this trial were given
// back before.
//
// Refused for a boot that is no counted boot of the trial in the block, for one that was
// given back already, and when given is MaxGiveBacks. GiveBack does not write.
func (s State) GiveBack(booted Booted, given int) (State, error) {
	const verb = "give back a trial boot of"
	switch {
	case !s.Trial() || !s.OK(s.Active):
		return s, refuse(verb, booted.Slot, "nothing is on trial")
	case booted.Slot != s.Active || booted.BootID == "" || booted.BootID != s.BootID:
		return s, refuse(verb, booted.Slot, "it is not the trial in the environment block")
	case booted.Try == 0 || booted.Try != Attempts-s.Counter:
		return s, refuse(verb, booted.Slot, "GRUB did not count this boot, or it was given back already")
	case given < 0 || given >= MaxGiveBacks:
		return s, refuse(verb, booted.Slot, fmt.Sprintf("%d of its boots were given back already", MaxGiveBacks))
	}
	s.Counter++
	return s, nil
}
