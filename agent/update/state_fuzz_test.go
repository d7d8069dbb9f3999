package update

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"tufboot/grub"
)

// FuzzState puts any bytes in the place of the agent's state: it is read, or set
// aside and begun anew, whatever boot it is read in; and what is kept of it stays
// as it is and bounded.
func FuzzState(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", "[]", `{"trial":null,"failed":[{}]}`, `{"staged":{"slot":"C"}}`,
		`{"staged":{"slot":"B","release":"ab","version":"2"},"trial":{"slot":"B","release":"ab","version":"2","boot_id":"x1","armed_in":"k","unhealthy":"no"},"failed":[{"release":"cd","version":"1","why":"w","at":"2026-01-01T00:00:00Z"}],"last_check":{"at":"2026-01-01T00:00:00Z","reason":"done","rollout":{"percent":5,"rollout":null}}}`,
	} {
		f.Add([]byte(s), byte(0))
	}
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, data []byte, boot byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, stateFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := LoadState(dir, log)
		if err != nil {
			t.Fatalf("the agent cannot start: %v", err)
		}
		n := New(Options{StateDir: dir})
		booted := []grub.Slot{grub.SlotA, grub.SlotB}[boot&1]
		block := grub.State{Active: []grub.Slot{grub.SlotA, grub.SlotB}[boot>>1&1], Success: boot&4 == 0, AOK: boot&8 == 0, BOK: boot&16 == 0, Counter: int(boot >> 5 & 3), BootID: "x1"}
		facts := Facts{Booted: grub.Booted{Slot: booted, BootID: "x1"}, Block: block, KernelID: "k", Trial: s.Trial}
		situation := facts.Situation()
		_ = facts.refusal(situation)
		s, _ = n.settled(s, facts, situation)
		s = s.remember(Failure{Release: "ee", Why: "again"})
		if _, known := s.FailedBefore("ee"); !known || len(s.Failed) > maxFailed {
			t.Errorf("%d failed releases", len(s.Failed))
		}
		if err := s.Save(dir); err != nil {
			t.Fatalf("what was read cannot be kept: %v", err)
		}
		again, err := LoadState(dir, log)
		if err != nil {
			t.Fatal(err)
		}
		one, _ := json.Marshal(s)
		two, _ := json.Marshal(again)
		if string(one) != string(two) {
			t.Errorf("kept as %s, was %s", two, one)
		}
	})
}
