package repository

import (
	"bytes"
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// TestRootRow has rows of roots that no client would follow.
func TestRootRow(t *testing.T) {
	r, s, keys := memRepo(t)
	rotate(t, r, keys, true, Timestamp)
	_, other, otherKeys := memRepo(t)
	second := s.files[versionedFile(Root, 2)].data

	change := func(data []byte, by Signers, edit func(root *tuf.RootType)) []byte {
		t.Helper()
		md, err := parse[tuf.RootType](data)
		if err != nil {
			t.Fatal(err)
		}
		a, err := rootAuthority(&md.Signed, Root)
		if err != nil {
			t.Fatal(err)
		}
		signers, err := a.available(t.Context(), by)
		if err != nil {
			t.Fatal(err)
		}
		edit(&md.Signed)
		md.Signatures = nil
		if _, err := sign(md, signers); err != nil {
			t.Fatal(err)
		}
		out, err := md.ToBytes(true)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	foreign, err := parse[tuf.RootType](other.files[versionedFile(Root, 1)].data)
	if err != nil {
		t.Fatal(err)
	}
	number := func(n int64) func(*tuf.RootType) { return func(root *tuf.RootType) { root.Version = n } }
	for _, test := range []struct {
		name string
		data []byte
		good bool
	}{
		{"the real one", second, true},
		{"signed again", change(second, keys, number(2)), true},
		{"the first again", s.files[versionedFile(Root, 1)].data, false},
		{"a step too far", change(second, keys, number(3)), false},
		{"not signed by the one before", change(other.files[versionedFile(Root, 1)].data, otherKeys, number(2)), false},
		{"not signed by itself", change(second, keys, func(root *tuf.RootType) {
			root.Keys, root.Roles = foreign.Signed.Keys, foreign.Signed.Roles
		}), false},
		{"not signed", bytes.Replace(second, []byte(`"sig": "`), []byte(`"sig": "00`), 1), false},
		{"changed", bytes.Replace(second, []byte(`"consistent_snapshot": true`), []byte(`"consistent_snapshot": false`), 1), false},
		{"torn", second[:len(second)/2], false},
		{"no role", change(second, keys, func(root *tuf.RootType) { root.Roles[Root] = nil }), false},
		{"empty", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			from := s.clone()
			from.put(versionedFile(Root, 2), test.data)
			row, err := rootRow(nil).follow(t.Context(), from)
			if test.good && (err != nil || row.version() != 2) {
				t.Errorf("%d versions, %v", row.version(), err)
			}
			if !test.good {
				wantReason(t, err, ReasonBadRepository)
			}
		})
	}
}

// TestNumberedFile takes names apart, and only those that repositories use.
func TestNumberedFile(t *testing.T) {
	for name, want := range map[string]string{
		"metadata/1.targets.json":                    "targets",
		"metadata/12.releases-0f.json":               "releases-0f",
		"metadata/3.channel-a.b.json":                "channel-a.b",
		"metadata/timestamp.json":                    "",
		"metadata/01.targets.json":                   "",
		"metadata/-1.targets.json":                   "",
		"metadata/+1.targets.json":                   "",
		"metadata/1..json":                           "",
		"metadata/1.json":                            "",
		"metadata/1.targets.json.bak":                "",
		"metadata/old/1.targets.json":                "",
		"targets/1.targets.json":                     "",
		"1.targets.json":                             "",
		"metadata/99999999999999999999.targets.json": "",
	} {
		role, _, ok := numberedFile(name)
		if ok != (want != "") || ok && role != want {
			t.Errorf("%s: got %q, %v", name, role, ok)
		}
	}
}
