package repository

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// TestExplainAgrees: what explain finds, and by which roles, is what clients
// find, in a repository with bins and with targets in odd places.
func TestExplainAgrees(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for i := range 100 {
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			if _, err := e.set(t.Context(), metadata.ReleaseTarget("old-"+string(rune('a'+i%26))+strings.Repeat("x", i/26), "amd64", file), strings.Repeat("ab", 32), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := e.set(t.Context(), "elsewhere", strings.Repeat("ab", 32), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	st, err := load(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	all, err := st.all(t.Context())
	if err != nil || len(all) < 300 {
		t.Fatal(len(all), err)
	}
	names := []string{"elsewhere/not", "releases/1/amd64/other", "channels/other.json", "", "../timestamp.json"}
	for _, entry := range all {
		names = append(names, entry.Target)
	}
	x, err := newExplainer(t.Context(), r.store, at(start))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		role, target, err := st.find(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.trace(t.Context(), TraceTarget, name, ""); err != nil {
			t.Fatal(err)
		}
		got := x.Targets[len(x.Targets)-1]
		switch {
		case (role == nil) != (got.Path == nil):
			t.Errorf("%q: %+v", name, got)
		case role != nil && (got.Path[len(got.Path)-1] != role.name || got.SHA256 != sumOf(target)):
			t.Errorf("%q: %+v, and clients find it in %s", name, got, role.name)
		case role == nil && (len(got.Looked) == 0 || got.Problem == ""):
			t.Errorf("%q: %+v", name, got)
		}
	}
	if len(x.Roles) != 2+3+16 {
		t.Errorf("%d roles explained", len(x.Roles))
	}
}

// TestExplainKeys: a key is shown as a signer only if its signature is right.
func TestExplainKeys(t *testing.T) {
	roles, _, dir := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 3, RootThreshold: 2})
	for _, file := range []string{"root-2.key", "root-2.pub"} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	some, err := OpenKeys([]string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	store := storage.NewFolder(t.TempDir())
	if _, err := Create(t.Context(), store, CreateOptions{Options: at(start), Roles: roles, Keys: some}); err != nil {
		t.Fatal(err)
	}
	x, err := ExplainTarget(t.Context(), store, "none", at(start))
	if !errors.Is(err, ErrNotFound) || x == nil || x.Found {
		t.Fatalf("%+v, %v", x, err)
	}
	signed := 0
	for _, key := range x.Roots[0].Keys {
		if key.Signed {
			signed++
		}
	}
	if signed != 2 || len(x.Roots[0].Keys) != 3 || x.Roots[0].Threshold != 2 {
		t.Errorf("%+v", x.Roots[0])
	}

	st, err := load(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	st.timestamp.Signatures[0].Signature[0]++
	a, err := st.authority(Timestamp, Root)
	if err != nil || a.signed(st.timestamp)[0].Signed {
		t.Errorf("a wrong signature counts, %v", err)
	}
}

// TestExplainFixtures explains what is wrong in each fixture, if it can be read.
func TestExplainFixtures(t *testing.T) {
	for name, want := range map[string]string{
		"valid": "", "valid-newer": "", "valid-rotated-root": "", "bad-hash": "", // the payload is not read
		"bad-length": "its file has 2761 bytes, not 2760", "missing-target": "its file is missing",
		"manifest-mismatch": "what leads here says", "artifact-mismatch": "what leads here says",
		"bad-hash-manifest": "hash",
	} {
		store := storage.NewFolder(filepath.Join(fixtures, name, "repository"))
		x, err := ExplainChannel(t.Context(), store, "stable", "amd64", at(start))
		if x == nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i := slices.IndexFunc(x.Targets, func(t Trace) bool { return t.Problem != "" })
		switch {
		case want == "":
			if i >= 0 || err != nil || !x.Found || len(x.Targets) != 4 {
				t.Errorf("%s: %+v, %v", name, x.Targets, err)
			}
		case i < 0 || err == nil || !strings.Contains(x.Targets[i].Problem, want):
			t.Errorf("%s: %+v, %v", name, x.Targets, err)
		}
	}
	store := storage.NewFolder(filepath.Join(fixtures, "valid-rotated-root", "repository"))
	x, err := ExplainTarget(t.Context(), store, "channels/stable.json", at(start))
	if err != nil || len(x.Roots) != 2 || x.Roots[1].Before == nil || x.Roots[1].Before.Signed != 1 {
		t.Errorf("%+v, %v", x, err)
	}
	x, err = ExplainChannel(t.Context(), store, "stable", "riscv64", at(start))
	wantReason(t, err, ReasonNoRelease)
	if x == nil || len(x.Targets) != 1 {
		t.Errorf("%+v", x)
	}
}
