package repository

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestEventFile reads files that say the same in another way, more, or less.
func TestEventFile(t *testing.T) {
	r, k := ceremonyRepo(t)
	e := propose(t, r, nil)
	signEvent(t, e, k.keys("root-1", "targets"))
	data := encoded(t, e)
	again, err := ParseEvent(data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded(t, again), data) || again.ID() != e.ID() {
		t.Error("it changes when it is read and written")
	}
	text := string(data)
	for name, c := range map[string]struct{ text, reason string }{
		"empty":                   {"", ReasonBadEvent},
		"null":                    {"null", ReasonEventSchema},
		"not JSON":                {"repo", ReasonBadEvent},
		"a newer schema":          {strings.Replace(text, `"schema": 1`, `"schema": 2`, 1), ReasonEventSchema},
		"an unknown field":        {strings.Replace(text, `"schema": 1,`, `"schema": 1, "note": "sign this",`, 1), ReasonBadEvent},
		"a field twice":           {strings.Replace(text, `"schema": 1,`, `"schema": 1, "schema": 1,`, 1), ReasonBadEvent},
		"a field in another case": {strings.Replace(text, `"schema": 1,`, `"schema": 1, "Root": null,`, 1), ReasonBadEvent},
		"a threshold twice":       {strings.Replace(text, `"threshold": 2`, `"threshold": 1, "threshold": 2`, 1), ReasonBadEvent},
		"a threshold in capitals": {strings.Replace(text, `"threshold": 2`, `"Threshold": 2`, 1), ReasonBadEvent},
		"more after it":           {text + "{}", ReasonBadEvent},
		"other line ends":         {strings.ReplaceAll(text, "\n", "\r\n"), ReasonBadEvent},
		"no last line end":        {strings.TrimSuffix(text, "\n"), ReasonBadEvent},
		"too large":               {text + strings.Repeat(" ", MaxEvent), ReasonBadEvent},
	} {
		t.Run(name, func(t *testing.T) {
			if c.text == text {
				t.Fatal("nothing was changed")
			}
			_, err := ParseEvent([]byte(c.text))
			wantReason(t, err, c.reason)
		})
	}
	// Torn: cut short anywhere, or a page of zeros in the middle.
	for n := 0; n < len(data); n += 97 {
		if _, err := ParseEvent(data[:n]); err == nil {
			t.Fatalf("the first %d bytes of %d are accepted", n, len(data))
		}
		hole := slices.Clone(data)
		clear(hole[n:min(n+512, len(hole))])
		if _, err := ParseEvent(hole); err == nil {
			t.Fatalf("accepted with zeros from byte %d on", n)
		}
	}
}

// FuzzParseEvent reads anything. What it accepts must be what it would write, and
// be shown.
func FuzzParseEvent(f *testing.F) {
	for _, seed := range fuzzEvents(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEvent(data)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("written as %q, %v", again, err)
		}
		var text bytes.Buffer
		e.Changes().WriteText(&text)
		_ = e.Complete()
	})
}

// fuzzEvents returns files of events.
func fuzzEvents(f *testing.F) [][]byte {
	pub := make(map[string]RoleEdit)
	for _, role := range append(Roles(), Channels, Releases) {
		private, err := GenerateKey(Ed25519)
		if err != nil {
			f.Fatal(err)
		}
		edit := pub[role]
		edit.Add = append(edit.Add, private.Public())
		pub[role] = edit
	}
	e, err := ProposeNew(ProposeOptions{Roles: pub}, start)
	if err != nil {
		f.Fatal(err)
	}
	data, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	return [][]byte{data, []byte(`{"schema": 1}`), []byte(`{"schema": 1, "root": {"signed": {"_type": "root", "roles": {"root": null}}, "signatures": []}}`)}
}
