package quick_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/quick"
)

// byTUF is what go-tuf makes of a file; nil: it does not accept it.
func byTUF[T tuf.Roles](by quick.Delegator, role string, data []byte) *tuf.Metadata[T] {
	md, err := new(tuf.Metadata[T]).FromBytes(data)
	if err != nil || by.VerifyDelegate(role, md) != nil {
		return nil
	}
	return plain(md)
}

// TestRead: whoever signs, and whoever says who may, the same is read as go-tuf
// reads.
func TestRead(t *testing.T) {
	ids, signers := keys(t)
	above := tuf.Targets(expires)
	for id := range ids {
		s, l := snapshot(40), targets(40)
		data := sign(t, s, signers, id)
		by := root(ids, tuf.SNAPSHOT, 1, id)
		want := byTUF[tuf.SnapshotType](by, tuf.SNAPSHOT, data)
		if got := quick.Read[tuf.SnapshotType](by, tuf.SNAPSHOT, data); want == nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: snapshot: got %v", id, got)
		}
		data = sign(t, l, signers, id)
		for _, d := range []*tuf.Delegations{
			{Keys: ids, Roles: []tuf.DelegatedRole{{Name: "other"}, {Name: "releases", KeyIDs: []string{id}, Threshold: 1}}},
			{Keys: ids, SuccinctRoles: &tuf.SuccinctRoles{KeyIDs: []string{id}, Threshold: 1, BitLength: 8, NamePrefix: "releases"}},
		} {
			above.Signed.Delegations = d
			want := byTUF[tuf.TargetsType](above, "releases", data)
			if got := quick.Read[tuf.TargetsType](above, "releases", data); want == nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: targets: got %v", id, got)
			}
		}
	}
}

// TestWhoSigned: enough of the right keys, and go-tuf says the same.
func TestWhoSigned(t *testing.T) {
	ids, signers := keys(t)
	twin := *ids["a"]
	ids["a-again"], signers["a-again"] = &twin, signers["a"]
	broken := *ids["a"]
	broken.Value.PublicKey = "xyz"
	ids["broken"] = &broken
	for _, c := range []struct {
		name      string
		may       []string
		threshold int
		signed    []string
		ok        bool
	}{
		{"one of one", []string{"a"}, 1, []string{"a"}, true},
		{"one of two", []string{"a", "b"}, 1, []string{"b"}, true},
		{"two of three", []string{"a", "b", "rsa"}, 2, []string{"a", "rsa"}, true},
		{"and one that may not", []string{"a"}, 1, []string{"c", "a"}, true},
		{"nobody", []string{"a"}, 1, nil, false},
		{"another", []string{"a"}, 1, []string{"b"}, false},
		{"one instead of two", []string{"a", "b"}, 2, []string{"a"}, false},
		{"one that may and one that may not", []string{"a", "b"}, 2, []string{"a", "c"}, false},
		{"one key under two ids", []string{"a", "a-again"}, 2, []string{"a", "a-again"}, false},
		{"no threshold", []string{"a"}, 0, []string{"a"}, false},
		{"nobody may", nil, 1, []string{"a"}, false},
		{"an id without a key", []string{"a", "gone"}, 1, []string{"a"}, false},
		{"a key that is none", []string{"a", "broken"}, 1, []string{"a"}, false},
		{"two signatures by one key", []string{"a"}, 1, []string{"a", "a"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			by := root(ids, tuf.SNAPSHOT, c.threshold, c.may...)
			data := sign(t, snapshot(3), signers, c.signed...)
			if got := quick.Read[tuf.SnapshotType](by, tuf.SNAPSHOT, data) != nil; got != c.ok {
				t.Errorf("accepted: %v", got)
			}
			if got := byTUF[tuf.SnapshotType](by, tuf.SNAPSHOT, data) != nil; got != c.ok {
				t.Errorf("go-tuf accepts: %v", got)
			}
		})
	}
	both := tuf.Targets(expires)
	both.Signed.Delegations = &tuf.Delegations{
		Keys: ids, Roles: []tuf.DelegatedRole{{Name: "other", KeyIDs: []string{"a"}, Threshold: 1}},
		SuccinctRoles: &tuf.SuccinctRoles{KeyIDs: []string{"a"}, Threshold: 1, BitLength: 8, NamePrefix: "releases"},
	}
	if quick.Read[tuf.TargetsType](both, "releases", sign(t, targets(3), signers, "a")) != nil {
		t.Error("a role that is not among those with names")
	}
	data := sign(t, snapshot(3), signers, "a")
	if quick.Read[tuf.SnapshotType](root(ids, tuf.TIMESTAMP, 1, "a"), tuf.SNAPSHOT, data) != nil {
		t.Error("a role that root does not have")
	}
	if quick.Read[tuf.TargetsType](tuf.Targets(expires), "releases", sign(t, targets(3), signers, "a")) != nil {
		t.Error("a role that nothing delegates to")
	}
}

// TestNotPlain: what is not known, or not signed, is left to go-tuf.
func TestNotPlain(t *testing.T) {
	ids, signers := keys(t)
	s := string(sign(t, snapshot(3), signers, "a"))
	l := string(sign(t, targets(3), signers, "a"))
	for _, c := range []struct{ name, old, new string }{
		{"cut short", `}]`, ``},
		{"followed by something", `{"signatures"`, `{} {"signatures"`},
		{"another type", `"_type":"`, `"_type":"x`},
		{"another version", `"version":1`, `"version":2`},
		{"another length", `"length":1`, `"length":2`},
		{"another hash", `"sha256":"0`, `"sha256":"f`},
		{"another expiry", `2027-01-01`, `2028-01-01`},
		{"another name", `releases`, `release5`},
		{"a field in the file", `{"signatures"`, `{"x":1,"signatures"`},
		{"a field in what is signed", `"_type"`, `"x":1,"_type"`},
		{"a field in an entry", `"length"`, `"x":1,"length"`},
		{"a field in a signature", `"keyid"`, `"x":1,"keyid"`},
		{"an entry of the other kind", `"spec_version"`, `"meta":{"x":{"version":1}},"targets":{"x":{"length":1}},"spec_version"`},
		{"an escape", `"2027-`, `"\u0032027-`},
		{"a number with a zero in front", `"version":1`, `"version":01`},
		{"a comma too many", `,"s`, `,,"s`},
		{"another separator", `,"s`, `;"s`},
		{"a control character", `"_type"`, "\"\x01\":1,\"_type\""},
		{"no white space", `{"signatures"`, "\u00a0{\"signatures\""},
		{"null", `"length":1`, `"length":null`},
		{"a number that is none", `"version":1`, `"version":1.5`},
		{"an empty list of the other kind", `"spec_version"`, `"targets":{},"meta":{},"spec_version"`},
	} {
		for _, data := range []string{s, l} {
			changed := strings.Replace(data, c.old, c.new, 1)
			if changed == data {
				t.Fatalf("%s changes nothing", c.name)
			}
			if quick.Read[tuf.SnapshotType](root(ids, "role", 1, "a"), "role", []byte(changed)) != nil ||
				quick.Read[tuf.TargetsType](root(ids, "role", 1, "a"), "role", []byte(changed)) != nil {
				t.Errorf("%s was accepted", c.name)
			}
		}
	}
	by := root(ids, "role", 1, "a")
	if quick.Read[tuf.SnapshotType](by, "role", []byte(s)) == nil || quick.Read[tuf.TargetsType](by, "role", []byte(l)) == nil {
		t.Error("unchanged was not accepted")
	}
	if quick.Read[tuf.SnapshotType](by, "role", []byte(s+"\n")) == nil || quick.Read[tuf.SnapshotType](by, "role", []byte(s+"{}")) != nil ||
		quick.Read[tuf.SnapshotType](by, "role", []byte(s+"\x00")) != nil || quick.Read[tuf.SnapshotType](by, "role", []byte(s[:len(s)-1])) != nil {
		t.Error("a line may end the file, and nothing else")
	}
	if quick.Read[tuf.TargetsType](by, "role", []byte(s)) != nil || quick.Read[tuf.SnapshotType](by, "role", []byte(l)) != nil {
		t.Error("one kind was taken for the other")
	}
	if quick.Read[tuf.RootType](by, "role", sign(t, by, signers, "a")) != nil {
		t.Error("a root was read")
	}
}

// TestSignedAndWrong: signatures do not make up for another type, a list that is
// not there, a target without a hash, or text that JSON reads differently.
func TestSignedAndWrong(t *testing.T) {
	ids, signers := keys(t)
	by := root(ids, "role", 1, "a")
	refused := func(what string, data []byte) {
		t.Helper()
		if quick.Read[tuf.SnapshotType](by, "role", data) != nil || quick.Read[tuf.TargetsType](by, "role", data) != nil {
			t.Errorf("%s was accepted", what)
		}
		if byTUF[tuf.SnapshotType](by, "role", data) != nil || byTUF[tuf.TargetsType](by, "role", data) != nil {
			t.Errorf("go-tuf accepts %s", what)
		}
	}
	s, l := snapshot(0), targets(0)
	clear(s.Signed.Meta)
	refused("a snapshot without a list", bytes.Replace(sign(t, s, signers, "a"), []byte(`"meta":{},`), nil, 1))
	refused("a role without a list", bytes.Replace(sign(t, l, signers, "a"), []byte(`"targets":{},`), nil, 1))
	s.Signed.Meta["\x01.json"] = tuf.MetaFile(1)
	refused("a control character", bytes.Replace(sign(t, s, signers, "a"), []byte(`\u0001`), []byte("\x01"), 1))
	clear(s.Signed.Meta)
	s.Signed.Meta[`\u0041.json`] = tuf.MetaFile(1)
	refused("an escape that was none", bytes.Replace(sign(t, s, signers, "a"), []byte(`\\u0041`), []byte(`\u0041`), 1))
	clear(s.Signed.Meta)
	s.Signed.Type, l.Signed.Type = tuf.TIMESTAMP, tuf.ROOT
	refused("a snapshot that calls itself a timestamp", sign(t, s, signers, "a"))
	refused("a role that calls itself a root", sign(t, l, signers, "a"))
	s.Signed.Type, l.Signed.Type = tuf.TARGETS, tuf.SNAPSHOT
	refused("a snapshot that calls itself targets", sign(t, s, signers, "a"))
	refused("a role that calls itself a snapshot", sign(t, l, signers, "a"))
	l = targets(1)
	for _, f := range l.Signed.Targets {
		f.Hashes = tuf.Hashes{}
	}
	refused("a target without a hash", sign(t, l, signers, "a"))
}

// TestPayload: what is signed is what go-tuf signs, or nothing.
func TestPayload(t *testing.T) {
	s, l := snapshot(40), targets(40)
	same(t, s)
	same(t, l)
	s.Signed.Meta["a \"name\" with \\ and <&> and é"] = tuf.MetaFile(7)
	l.Signed.Targets["\x01\n"] = &tuf.TargetFiles{Hashes: tuf.Hashes{"sha256": nil}}
	same(t, s)
	same(t, l)
	for name, change := range map[string]func(*tuf.SnapshotType){
		"field":    func(s *tuf.SnapshotType) { s.UnrecognizedFields = map[string]any{"x": 1} },
		"no list":  func(s *tuf.SnapshotType) { s.Meta = nil },
		"null":     func(s *tuf.SnapshotType) { s.Meta["x"] = nil },
		"in entry": func(s *tuf.SnapshotType) { s.Meta["x"] = &tuf.MetaFiles{UnrecognizedFields: map[string]any{"x": "y"}} },
		"no string": func(s *tuf.SnapshotType) {
			s.Meta["x"] = &tuf.MetaFiles{UnrecognizedFields: map[string]any{"x-tufboot-expires": 1}}
		},
		"no text": func(s *tuf.SnapshotType) { s.Meta["\xff"] = tuf.MetaFile(1) },
	} {
		md := snapshot(2)
		change(&md.Signed)
		if _, err := quick.Payload(md); !errors.Is(err, quick.ErrNotPlain) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, change := range map[string]func(*tuf.TargetsType){
		"field":      func(l *tuf.TargetsType) { l.UnrecognizedFields = map[string]any{"x": 1} },
		"delegation": func(l *tuf.TargetsType) { l.Delegations = &tuf.Delegations{} },
		"no list":    func(l *tuf.TargetsType) { l.Targets = nil },
		"null":       func(l *tuf.TargetsType) { l.Targets["x"] = nil },
		"in entry":   func(l *tuf.TargetsType) { l.Targets["x"].UnrecognizedFields = map[string]any{"x": "y"} },
		"custom":     func(l *tuf.TargetsType) { l.Targets["x"].Custom = new(rawMessage) },
	} {
		md := targets(2)
		md.Signed.Targets["x"] = &tuf.TargetFiles{Hashes: tuf.Hashes{"sha256": nil}}
		change(&md.Signed)
		if _, err := quick.Payload(md); !errors.Is(err, quick.ErrNotPlain) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func same[T tuf.Roles](t *testing.T, md *tuf.Metadata[T]) {
	t.Helper()
	want, err := cjson.EncodeCanonical(md.Signed)
	must(t, err)
	got, err := quick.Payload(md)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}

// TestFixtures: the fixtures, with all that is wrong with some of them, are read as
// go-tuf reads them, or not at all; and most of them are.
func TestFixtures(t *testing.T) {
	repositories, err := filepath.Glob("../../testdata/tuf-repo/*/repository/metadata")
	must(t, err)
	read := 0
	for _, dir := range repositories {
		data, err := os.ReadFile(filepath.Join(dir, "1.root.json"))
		must(t, err)
		by, err := tuf.Root().FromBytes(data)
		must(t, err)
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		must(t, err)
		for _, file := range files {
			data, err := os.ReadFile(file)
			must(t, err)
			read += agree[tuf.SnapshotType](t, by, tuf.SNAPSHOT, file, data)
			read += agree[tuf.TargetsType](t, by, tuf.TARGETS, file, data)
		}
	}
	if read < 2*len(repositories) {
		t.Errorf("only %d files of %d repositories were read", read, len(repositories))
	}
}

// agree returns 1 if a file is read.
func agree[T tuf.Roles](t *testing.T, by quick.Delegator, role, file string, data []byte) int {
	t.Helper()
	got := quick.Read[T](by, role, data)
	if got == nil {
		return 0
	}
	if want := byTUF[T](by, role, data); !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", file, got, want)
	}
	return 1
}

// TestForgedSignature: a right key's signature of something else is none.
func TestForgedSignature(t *testing.T) {
	ids, signers := keys(t)
	for id := range ids {
		var file, other map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(sign(t, snapshot(3), signers, id), &file), json.Unmarshal(sign(t, snapshot(4), signers, id), &other)); err != nil {
			t.Fatal(err)
		}
		file["signatures"] = other["signatures"]
		data, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		if quick.Read[tuf.SnapshotType](root(ids, tuf.SNAPSHOT, 1, id), tuf.SNAPSHOT, data) != nil {
			t.Errorf("%s: accepted", id)
		}
	}
}
