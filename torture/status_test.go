package main

import (
	"slices"
	"testing"

	"tufboot/grub"
)

const trialID = "0123456789abcdef"

// onTrial returns a node in the first trial boot of v2, and the status that tells it.
func onTrial(t *testing.T) (truth, status) {
	t.Helper()
	tr := truth{
		booted:    boot{Booted: grub.Booted{Slot: grub.SlotB, BootID: trialID, Try: 1}},
		state:     grub.State{Active: grub.SlotB, Counter: 2, AOK: true, BOK: true, BootID: trialID},
		slots:     map[grub.Slot]content{grub.SlotA: {version: "v1", manifest: "v1"}, grub.SlotB: {version: "v2", manifest: "v2"}},
		releases:  map[string]digests{"v1": {manifestFile: "sum1"}, "v2": {manifestFile: "sum2"}},
		candidate: "v2",
	}
	s, err := parseStatus(answer{stdout: `{"situation": "trial", "booted": {"slot": "B", "try": 1, "boot_id": "` + trialID + `"},
		"boot": {"active_slot": "B", "boot_counter": 2, "A_ok": true, "B_ok": true, "boot_id": "` + trialID + `"},
		"slots": {"A": {"release": "sum1", "version": "v1"}, "B": {"release": "sum2", "version": "v2"}},
		"trial": {"slot": "B", "version": "v2", "boot_id": "` + trialID + `"},
		"metadata": {"root": {"version": 1}, "timestamp": {"version": 2}, "snapshot": {"version": 2}, "targets": {"version": 1}}}`})
	if err != nil {
		t.Fatal(err)
	}
	return tr, s
}

// TestLies: a status that tells the truth passes, and no other does.
func TestLies(t *testing.T) {
	for name, change := range map[string]func(*truth, *status){
		"":                   func(*truth, *status) {},
		"booted slot":        func(_ *truth, s *status) { s.Booted.Slot = grub.SlotA },
		"trial boot":         func(_ *truth, s *status) { s.Booted.Try = 2 },
		"no block":           func(_ *truth, s *status) { s.Boot = nil },
		"counter":            func(_ *truth, s *status) { s.Boot.Counter = 3 },
		"ok flag":            func(_ *truth, s *status) { s.Boot.BOK = false },
		"situation":          func(_ *truth, s *status) { s.Situation = "committed" },
		"no note of a trial": func(_ *truth, s *status) { s.Trial = nil },
		"trial of another":   func(_ *truth, s *status) { s.Trial.Version = "v1" },
		"alarm":              func(_ *truth, s *status) { s.Alarms = []string{"!"} },
		"no metadata":        func(_ *truth, s *status) { s.Metadata = nil },
		"metadata lost":      func(_ *truth, s *status) { s.Metadata.Snapshot.Version = 0 },
		"another release in a slot": func(tr *truth, _ *status) {
			tr.slots[grub.SlotA] = content{version: "v2", manifest: "v2"}
		},
		"nothing in a slot": func(tr *truth, _ *status) { tr.slots[grub.SlotA] = content{wrong: "empty"} },
		"given up, and called committed without a trace": func(tr *truth, s *status) {
			givenUp(tr, s)
			s.Situation, s.Trial = "committed", nil
		},
		"committed by the gate, and not settled": func(tr *truth, s *status) {
			committed(tr, s)
			tr.settled = true
		},
		"DATA is there, and its note of the trial is not": func(tr *truth, s *status) {
			givenUp(tr, s)
			s.Situation, s.Trial.BootID = "never-armed", "fedcba9876543210"
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr, s := onTrial(t)
			change(&tr, &s)
			if lies := tr.lies(s); (len(lies) > 0) != (name != "") {
				t.Errorf("found %q", lies)
			}
		})
	}
}

// givenUp has GRUB give the trial up.
func givenUp(tr *truth, s *status) {
	tr.booted = boot{Booted: grub.Booted{Slot: grub.SlotA, BootID: trialID}}
	tr.state = grub.State{Active: grub.SlotA, Success: true, AOK: true, BootID: trialID}
	s.Booted.Slot, s.Booted.Try = grub.SlotA, 0
	s.Boot.Active, s.Boot.Success, s.Boot.Counter, s.Boot.BOK = grub.SlotA, true, 0, false
	s.Situation = "rolled-back"
}

// committed has the health gate mark the trial good, and be cut off after that.
func committed(tr *truth, s *status) {
	tr.booted = boot{Booted: grub.Booted{Slot: grub.SlotB}}
	tr.state = grub.State{Active: grub.SlotB, Success: true, AOK: true, BOK: true}
	s.Booted.Try, s.Booted.BootID = 0, ""
	s.Boot.Success, s.Boot.Counter, s.Boot.BootID = true, 0, ""
	s.Situation = "just-committed"
}

// TestTruths: what a node may say after a rollback, a commit, and when DATA is lost.
func TestTruths(t *testing.T) {
	for name, change := range map[string]func(*truth, *status){
		"rolled back": givenUp,
		"rolled back and settled": func(tr *truth, s *status) {
			givenUp(tr, s)
			tr.settled, s.Situation, s.Trial = true, "committed", nil
			s.Failed = append(s.Failed, struct {
				Version string `json:"version"`
			}{"v2"})
		},
		"just committed": committed,
		"trial without DATA": func(tr *truth, s *status) {
			tr.forgot, s.Trial, s.Metadata.Timestamp.Version = true, nil, 0
		},
		"rolled back without DATA": func(tr *truth, s *status) {
			givenUp(tr, s)
			tr.forgot, s.Trial, s.Situation = true, nil, "committed"
		},
		"noted and never armed": func(tr *truth, s *status) {
			givenUp(tr, s)
			tr.state.BootID, tr.booted.BootID, s.Boot.BootID, s.Booted.BootID = "", "", "", ""
			s.Situation = "never-armed"
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr, s := onTrial(t)
			change(&tr, &s)
			if lies := tr.lies(s); len(lies) > 0 {
				t.Errorf("found %q", lies)
			}
		})
	}
	if _, err := parseStatus(answer{code: 1, stderr: "cannot"}); err == nil {
		t.Error("a status that failed was read")
	}
	if !slices.Equal(slotFiles()[:1], []string{manifestFile}) {
		t.Error("the manifest tells of which release the others must be")
	}
}
