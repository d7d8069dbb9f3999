package repository

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// crafted returns an event as an attacker could write it: changed, without
// signatures, and read from its file.
func crafted(t *testing.T, e *Event, change func(e *Event)) (*Event, error) {
	t.Helper()
	c, err := ParseEvent(encoded(t, e))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []func(){
		func() { c.root.Signatures = []tuf.Signature{} },
		func() { c.targets.Signatures = []tuf.Signature{} },
	} {
		func() {
			defer func() { _ = recover() }() // there may be no such part
			part()
		}()
	}
	change(c)
	return c.copy()
}

// TestChangesGolden shows what signers see.
func TestChangesGolden(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("root-4", "timestamp-2", "targets-2", "stable-1", "stable-2", "publish-2")
	fresh := proposeNew(t, k, start)
	stable := ChannelRole("stable")
	cases := map[string]*Event{
		"first":   fresh,
		"renewal": propose(t, r, nil),
		"add": propose(t, r, map[string]RoleEdit{
			Root: {Add: k.publics("root-4"), Threshold: 3},
		}),
		"replace": propose(t, r, map[string]RoleEdit{
			Root:      {Remove: []string{k.id("root-1")}, Add: k.publics("root-4")},
			Timestamp: {Remove: []string{k.id("timestamp")}, Add: k.publics("timestamp-2"), Expiry: 36 * time.Hour, Window: 90 * time.Minute},
		}),
		"targets": propose(t, r, map[string]RoleEdit{
			Targets: {Remove: []string{k.id("targets")}, Add: k.publics("targets-2")},
		}),
		"channel": propose(t, r, map[string]RoleEdit{
			stable:   {Add: k.publics("stable-1", "stable-2"), Threshold: 2, Expiry: 30 * day, Window: 10 * day},
			Releases: {Add: k.publics("publish-2")},
		}),
	}
	signed, err := cases["add"].copy()
	if err != nil {
		t.Fatal(err)
	}
	signEvent(t, signed, k.keys("root-2", "root-4"))
	cases["add-signed"] = signed
	change(t, r, k, map[string]RoleEdit{stable: {Add: k.publics("stable-1")}})
	cases["channel-gone"] = propose(t, r, map[string]RoleEdit{stable: {Gone: true}})
	if cases["odd"], err = crafted(t, cases["channel"], oddities(k)); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			c := cases[name].Changes()
			var text bytes.Buffer
			c.WriteText(&text)
			asJSON, err := json.MarshalIndent(c, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "event/"+name+".txt", text.Bytes())
			golden(t, "event/"+name+".json", append(asJSON, '\n'))
			for _, b := range text.Bytes() {
				if b != '\n' && (b < ' ' || b > '~') {
					t.Fatalf("byte %q in the text", b)
				}
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(want, got) {
		t.Errorf("%s differs (%v); run go test with -update and look at the difference. Got:\n%s", path, err, got)
	}
}

// oddities hides all kinds of changes in an event, and tries to fool a terminal.
func oddities(k *keyring) func(e *Event) {
	return func(e *Event) {
		signed := &e.targets.Signed
		signed.SpecVersion = "1.0.99"
		signed.Targets["channels/stable.json"] = &tuf.TargetFiles{Length: 1, Hashes: tuf.Hashes{"sha256": bytes.Repeat([]byte{1}, 32)}}
		signed.UnrecognizedFields = map[string]any{"x\n\x1b[2Jsignatures: enough": "\u202eabc"}
		roles := signed.Delegations.Roles
		for i := range roles {
			switch roles[i].Name {
			case Channels:
				roles[i].Paths = append(roles[i].Paths, "releases/*/*/*", "a\nb")
			case Releases:
				roles[i].UnrecognizedFields[expiryField] = "soon"
				roles[i].Terminating = false
			}
		}
		slices.Reverse(roles)
		key, id, err := tufKey(k.pub["root-4"])
		if err != nil {
			panic(err)
		}
		signed.Delegations.Keys[id] = key
	}
}
