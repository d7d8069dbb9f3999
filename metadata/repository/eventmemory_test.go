package repository

import (
	"strings"
	"testing"
)

// TestOldTargets proposes a renewal from a copy of the repository that is older
// than the keys of channel-stable, with numbers skipped: it would remove them.
func TestOldTargets(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x", "y")
	old := copyRepo(t, r)
	stable := map[string]RoleEdit{ChannelRole("stable"): {Add: k.publics("x", "y"), Threshold: 2}}
	agreed := change(t, r, k, stable)
	memory, err := agreed.Memory(nil)
	if err != nil {
		t.Fatal(err)
	}
	targets := func(r *Repository, version int64) []byte {
		t.Helper()
		data, err := readMetadata(t.Context(), r.store, versionedFile(Targets, version))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	attack, err := crafted(t, propose(t, old, nil), func(e *Event) { e.targets.Signed.Version = 3 })
	if err != nil {
		t.Fatal(err)
	}
	other := propose(t, old, map[string]RoleEdit{ChannelRole("beta"): {Add: k.publics("x")}})
	foreign, _ := ceremonyRepo(t)
	change(t, foreign, k, map[string]RoleEdit{ChannelRole("beta"): {Add: k.publics("y")}})
	side := propose(t, foreign, nil) // its targets version 2 is another
	next := propose(t, r, nil)
	rootOnly := propose(t, r, map[string]RoleEdit{Root: {Add: k.publics("x")}})
	for name, c := range map[string]struct {
		e                        *Event
		memory, dropped, trusted bool // whether it passes
	}{
		"the same again":           {agreed, true, true, false},
		"renewal of the new":       {next, true, true, true},
		"root alone":               {rootOnly, true, true, true},
		"renewal of the old":       {attack, false, true, false},
		"another from the old":     {other, false, true, false},
		"the same number, another": {side, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(what string, err error, pass bool) {
				if !pass {
					wantReason(t, err, ReasonUntrusted)
				} else if err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			check("memory", c.e.CheckMemory(memory, false), c.memory)
			check("dropped", c.e.CheckMemory(memory, true), c.dropped)
			check("trusted targets", c.e.CheckTrustedTargets(targets(r, 2)), c.trusted)
		})
	}

	var text strings.Builder
	attack.Changes().WriteText(&text)
	if !strings.Contains(text.String(), "SKIPS 1 NUMBERS") {
		t.Errorf("the skipped number is not shown:\n%s", text.String())
	}
	if attack.CheckTrustedTargets(targets(old, 1)) != nil {
		t.Error("the targets that it starts from are refused")
	}

	// An event about root alone does not make the signer forget the targets, and
	// what the last one started from was published in any case.
	for _, e := range []*Event{rootOnly, next} {
		if memory, err = e.Memory(memory); err != nil {
			t.Fatal(err)
		}
		wantReason(t, attack.CheckMemory(memory, false), ReasonUntrusted)
	}
	wantReason(t, attack.CheckMemory(memory, true), ReasonUntrusted)
	wantReason(t, next.CheckMemory([]byte("{}"), false), ReasonUntrusted)
}

// TestOldRoot signs from an older root than before, and for another repository.
func TestOldRoot(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x", "y")
	old := propose(t, r, map[string]RoleEdit{Root: {Add: k.publics("y")}})
	agreed := change(t, r, k, map[string]RoleEdit{Root: {Add: k.publics("x")}})
	memory, err := agreed.Memory(nil)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, old.CheckMemory(memory, false), ReasonUntrusted)
	if err := old.CheckMemory(memory, true); err != nil {
		t.Errorf("the other was dropped: %v", err)
	}
	fresh := proposeNew(t, k, start)
	wantReason(t, fresh.CheckMemory(memory, true), ReasonUntrusted)
	next := propose(t, r, map[string]RoleEdit{Root: {Remove: []string{k.id("x")}}})
	if err := next.CheckMemory(memory, false); err != nil {
		t.Error(err)
	}
	first, err := fresh.Memory(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.CheckMemory(first, false); err != nil {
		t.Error(err)
	}
}
