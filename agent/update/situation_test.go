package update

import (
	"errors"
	"testing"

	"tufboot/grub"
)

const token = "0123456789abcdef"

func TestSituation(t *testing.T) {
	committed := grub.State{Active: grub.SlotA, Success: true, AOK: true, BOK: true}
	armed := grub.State{Active: grub.SlotB, Counter: grub.Attempts, AOK: true, BOK: true, BootID: token}
	counted := armed
	counted.Counter = grub.Attempts - 1
	gaveUp := grub.State{Active: grub.SlotA, Success: true, AOK: true, BootID: token}
	inA, inB := grub.Booted{Slot: grub.SlotA}, grub.Booted{Slot: grub.SlotB}
	trial := &Trial{Staged: Staged{Slot: grub.SlotB}, BootID: token, ArmedIn: "this boot"}
	given := &Trial{Staged: trial.Staged, BootID: token, ArmedIn: "boot 0", GivenBack: 1, GivenBackIn: "boot 1"}
	first := grub.Booted{Slot: grub.SlotB, BootID: token, Try: 1}
	tests := []struct {
		name  string
		facts Facts
		want  Situation
	}{
		{"sound", Facts{Block: committed, Booted: inA}, SituationCommitted},
		{"other slot booted once", Facts{Block: committed, Booted: inB}, SituationOtherSlot},
		{"not ours", Facts{Block: committed}, SituationUnknown},
		{"rescue", Facts{Block: committed, Rescue: true}, SituationCommitted},
		{"rescue of an armed node", Facts{Block: counted, Rescue: true}, SituationArmed},
		{"damaged", Facts{BlockErr: errors.New("zeroed"), Booted: inA}, SituationDamaged},
		{"noted, never armed", Facts{Block: committed, Booted: inA, Trial: trial}, SituationNeverArmed},
		{"armed, not rebooted", Facts{Block: armed, Booted: inA, Trial: trial, KernelID: "this boot"}, SituationArmed},
		{"armed, state lost", Facts{Block: armed, Booted: inA, KernelID: "this boot"}, SituationArmed},
		{"armed, rebooted, not counted", Facts{Block: armed, Booted: inA, Trial: trial, KernelID: "next boot"}, SituationMismatch},
		{"first trial boot", Facts{Block: counted, Booted: grub.Booted{Slot: grub.SlotB, BootID: token, Try: 1}, Trial: trial}, SituationTrial},
		{"first trial boot, state lost", Facts{Block: counted, Booted: grub.Booted{Slot: grub.SlotB, BootID: token, Try: 1}}, SituationTrial},
		{"trial with another token", Facts{Block: counted, Booted: grub.Booted{Slot: grub.SlotB, BootID: "00", Try: 1}, Trial: trial}, SituationMismatch},
		{"trial with another count", Facts{Block: counted, Booted: grub.Booted{Slot: grub.SlotB, BootID: token, Try: 2}, Trial: trial}, SituationMismatch},
		{"given back, not rebooted yet", Facts{Block: armed, Booted: first, Trial: given, KernelID: "boot 1"}, SituationTrial},
		{"given back, rebooted, not counted", Facts{Block: armed, Booted: first, Trial: given, KernelID: "boot 2"}, SituationMismatch},
		{"trial not counted", Facts{Block: armed, Booted: inB, Trial: trial}, SituationMismatch},
		{"trial's slot could not be loaded", Facts{Block: counted, Booted: inA, Trial: trial, KernelID: "next boot"}, SituationTrialLost},
		{"given up by GRUB", Facts{Block: gaveUp, Booted: inA, Trial: trial}, SituationRolledBack},
		{"given up, settled", Facts{Block: gaveUp, Booted: inA}, SituationCommitted},
		{"marked good, killed before the clean-up", Facts{Block: grub.State{Active: grub.SlotB, Success: true, AOK: true, BOK: true}, Booted: grub.Booted{Slot: grub.SlotB, BootID: token, Try: 1}, Trial: trial}, SituationJustCommitted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.facts.Situation(); got != tt.want {
				t.Errorf("situation %s, want %s", got, tt.want)
			}
		})
	}
}

// TestRebuiltKeepsTrial shows that no repair of the block turns an unproven
// slot into a committed one.
func TestRebuiltKeepsTrial(t *testing.T) {
	for try := 0; try <= grub.Attempts; try++ {
		for _, slot := range []grub.Slot{grub.SlotA, grub.SlotB} {
			f := Facts{BlockErr: errors.New("zeroed"), Booted: grub.Booted{Slot: slot, Try: try, BootID: token}}
			got := f.rebuilt()
			if got.Trial() != (try > 0) || got.Active != slot || !got.OK(slot) {
				t.Errorf("boot %d of slot %s was rebuilt as %+v", try, slot, got)
			}
			if try == 0 && got.OK(slot.Other()) {
				t.Errorf("slot %s is bootable, but nobody knows what it holds", slot.Other())
			}
			if try > 0 && got.Counter > grub.Attempts-try {
				t.Errorf("boot %d was rebuilt with %d more", try, got.Counter)
			}
		}
	}
}
