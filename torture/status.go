package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"tufboot/grub"
)

// status is what is compared of `agent status --json`.
type status struct {
	Situation string `json:"situation"`
	Booted    struct {
		Slot   grub.Slot `json:"slot"`
		Try    int       `json:"try"`
		BootID string    `json:"boot_id"`
	} `json:"booted"`
	Boot *struct {
		Active  grub.Slot `json:"active_slot"`
		Success bool      `json:"boot_success"`
		Counter int       `json:"boot_counter"`
		AOK     bool      `json:"A_ok"`
		BOK     bool      `json:"B_ok"`
		BootID  string    `json:"boot_id"`
	} `json:"boot"`
	Slots map[grub.Slot]struct {
		Release string `json:"release"`
		Version string `json:"version"`
		Problem string `json:"problem"`
	} `json:"slots"`
	Trial *struct {
		Slot    grub.Slot `json:"slot"`
		Version string    `json:"version"`
		BootID  string    `json:"boot_id"`
	} `json:"trial"`
	Failed []struct {
		Version string `json:"version"`
	} `json:"failed"`
	Metadata *struct {
		Root, Timestamp, Snapshot, Targets struct{ Version int }
	} `json:"metadata"`
	Alarms []string `json:"alarms"`
}

func parseStatus(a answer) (s status, err error) {
	if a.code != 0 {
		return s, fmt.Errorf("agent status: %s", a)
	}
	if err := json.Unmarshal([]byte(a.stdout), &s); err != nil {
		return s, fmt.Errorf("agent status printed no JSON: %w: %s", err, a)
	}
	return s, nil
}

// truth is what is known of a node that has just booted, without asking it.
type truth struct {
	booted    boot
	state     grub.State // the environment block as GRUB, or the health gate, left it
	slots     map[grub.Slot]content
	releases  map[string]digests // by version
	candidate string             // the release that the story's update is to
	settled   bool               // the health gate has run
	forgot    bool               // DATA could not be mounted: what the agent kept there is lost
}

// lies returns where a status differs from the truth.
func (t truth) lies(s status) []string {
	var lies []string
	lie := func(format string, args ...any) { lies = append(lies, fmt.Sprintf(format, args...)) }
	if b := s.Booted; b.Slot != t.booted.Slot || b.Try != t.booted.Try || b.BootID != t.booted.BootID {
		lie("booted is %+v, and GRUB booted %+v", b, t.booted.Booted)
	}
	if b := s.Boot; b == nil || (grub.State{Active: b.Active, Success: b.Success, Counter: b.Counter, AOK: b.AOK, BOK: b.BOK, BootID: b.BootID}) != t.state {
		lie("boot is %+v, and the environment block has %+v", b, t.state)
	}
	for _, slot := range []grub.Slot{grub.SlotA, grub.SlotB} {
		held, says := t.slots[slot], s.Slots[slot]
		if says.Problem != "" && says.Release == "" && !t.state.OK(slot) {
			continue // the kernel looks at the checksums of what is being written, GRUB does not
		}
		if want := t.releases[held.manifest][manifestFile]; says.Release != want || (says.Problem == "") != (want != "") || says.Version != held.manifest {
			lie("slot %s holds %+v, and GRUB finds %q there (%s)", slot, says, held.manifest, held.wrong)
		}
	}
	if want := t.situations(s); !slices.Contains(want, s.Situation) {
		lie("the situation is %s, and what it remembers allows %v; trial %+v, failed %+v", s.Situation, want, s.Trial, s.Failed)
	}
	if len(s.Alarms) > 0 {
		lie("alarms: %q", s.Alarms)
	}
	m := s.Metadata
	// An update that got as far as to arm a trial has kept what it believed.
	if m == nil || m.Root.Version != 1 || t.state.BootID != "" && !t.forgot && (m.Timestamp.Version == 0 || m.Snapshot.Version == 0 || m.Targets.Version == 0) {
		lie("of the trusted metadata it holds %+v", m)
	}
	return lies
}

// situations returns what the node may call its situation. Which of several depends on
// how much of its memory was on the disk, which the status has to say itself.
func (t truth) situations(s status) []string {
	noted := s.Trial != nil && s.Trial.Version == t.candidate && s.Trial.Slot == t.state.Active && s.Trial.BootID == t.state.BootID
	failed := false
	for _, f := range s.Failed {
		failed = failed || f.Version == t.candidate
	}
	switch st := t.state; {
	case t.booted.Slot != st.Active:
		return []string{"other-slot"}
	case st.Trial() && (noted || t.forgot && s.Trial == nil):
		return []string{"trial"}
	case st.Trial(): // its note was on the disk before it was armed
		return nil
	case t.settled && s.Trial != nil:
		return nil
	case t.running() == t.candidate && s.Trial == nil:
		return []string{"committed"}
	case t.running() == t.candidate:
		return []string{"just-committed"}
	case (st.BootID == "" || t.forgot) && s.Trial == nil:
		return []string{"committed"}
	case st.BootID == "":
		return []string{"never-armed"}
	case s.Trial == nil && failed: // a trial was armed, and GRUB gave it up
		return []string{"committed"}
	case s.Trial != nil && s.Trial.Version == t.candidate && s.Trial.BootID == st.BootID:
		return []string{"rolled-back"}
	}
	return nil
}

// running is the version of the release that runs.
func (t truth) running() string { return t.slots[t.booted.Slot].version }
