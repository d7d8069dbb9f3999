package repository

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// targetsOf returns the SHA-256 of every target that clients can find, but for
// channels.
func targetsOf(t *testing.T, from storage.Reader) map[string]string {
	t.Helper()
	st, err := load(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := st.all(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for _, e := range entries {
		if !isChannel(e.Target) {
			sums[e.Target] = e.SHA256
		}
	}
	return sums
}

// targetChanges puts the differences in targets together again.
func targetChanges(t *testing.T, d *Diff) map[string]string {
	t.Helper()
	changes := make(map[string]string)
	for _, r := range d.Releases {
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			changes[metadata.ReleaseTarget(r.Version, r.Arch, file)] = r.Change
		}
	}
	for _, c := range d.Targets {
		if changes[c.Target] != "" {
			t.Errorf("%s is there twice", c.Target)
		}
		changes[c.Target] = c.Change
	}
	return changes
}

// TestCompareTargets: leaving out the roles that are the same misses nothing.
// A release is added, one removed, one changed behind its name, another target
// added, and the bins split, between states of one repository.
func TestCompareTargets(t *testing.T) {
	r, keys := newRepo(t)
	edit := func(do func(e *Edit)) {
		t.Helper()
		e, err := r.Edit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		do(e)
		if _, err := e.Commit(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
	}
	add := func(e *Edit, version, sum string) {
		t.Helper()
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			if _, err := e.set(t.Context(), metadata.ReleaseTarget(version, "amd64", file), strings.Repeat(sum, 32), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(t, r, keys, "1")
	edit(func(e *Edit) { add(e, "one", "ab"); add(e, "two", "ab") })
	edit(func(e *Edit) {
		for i := range 90 { // from no bins to 16
			add(e, fmt.Sprint("many-", i), "ab")
		}
	})
	publish(t, r, keys, "2")
	edit(func(e *Edit) { add(e, "two", "cd") })
	edit(func(e *Edit) {
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			if err := e.Remove(t.Context(), metadata.ReleaseTarget("one", "amd64", file)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := e.set(t.Context(), "releases/3/amd64/extra", strings.Repeat("ab", 32), 1); err != nil {
			t.Fatal(err)
		}
	})
	var states []storage.Reader
	past, err := History(t.Context(), storage.NewFolder(r.Place()), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range slices.Backward(past) {
		states = append(states, AsOf(storage.NewFolder(r.Place()), p))
	}
	states = append(states, storage.NewFolder(r.Place()))
	for i, from := range states {
		for j, to := range states {
			d, err := Compare(t.Context(), from, to)
			if err != nil {
				t.Fatal(err)
			}
			want := make(map[string]string)
			a, b := targetsOf(t, from), targetsOf(t, to)
			for name, sum := range a {
				if now, ok := b[name]; !ok {
					want[name] = Removed
				} else if now != sum {
					want[name] = Changed
				}
			}
			for name := range b {
				if _, ok := a[name]; !ok {
					want[name] = Added
				}
			}
			if got := targetChanges(t, d); !maps.Equal(got, want) || d.Equal != (i == j) {
				t.Errorf("from state %d to %d: %d targets, want %d; equal %v", i, j, len(got), len(want), d.Equal)
			}
		}
	}
	from := &counting{Folder: storage.NewFolder(r.Place())}
	if _, err := Compare(t.Context(), states[len(states)-2], from); err != nil {
		t.Fatal(err)
	}
	bins := slices.DeleteFunc(from.opened, func(name string) bool { return !strings.Contains(name, ".releases-") })
	if len(bins) == 0 || len(bins) > 4 {
		t.Errorf("it reads the bins %q", bins)
	}
}

// TestCompareRewritten: two repositories that call different things the same.
func TestCompareRewritten(t *testing.T) {
	at := func(name string) storage.Reader {
		return storage.NewFolder(filepath.Join(fixtures, name, "repository"))
	}
	d, err := Compare(t.Context(), at("valid"), at("manifest-mismatch"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range d.Roles {
		if r.Rewritten != (r.Role != Root) || r.Version != nil {
			t.Errorf("%+v", r)
		}
	}
	if len(d.Roles) != 3 || len(d.Targets) != 1 || d.Targets[0].Change != Changed || len(d.Releases) != 0 || d.Equal {
		t.Errorf("%+v", d)
	}
	d, err = Compare(t.Context(), at("valid"), at("valid-rotated-root"))
	if err != nil || len(d.Roles) != 1 || len(d.Roles[0].KeysAdded) != 1 || len(d.Roles[0].KeysRemoved) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestPastAt(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	store := storage.NewFolder(r.Place())
	if _, now, err := PastAt(t.Context(), store, 2); !now || err != nil {
		t.Errorf("%v, %v", now, err)
	}
	past, now, err := PastAt(t.Context(), store, 1)
	if now || err != nil || past.Version() != 1 || past.Root != 1 {
		t.Errorf("%+v, %v, %v", past, now, err)
	}
	_, _, err = PastAt(t.Context(), store, 7)
	wantReason(t, err, ReasonNoState)
	if !strings.Contains(err.Error(), "1 are, from 1 to 1") {
		t.Error(err)
	}
}

// TestAsOf hides what was not there yet.
func TestAsOf(t *testing.T) {
	store := storage.NewFolder(filepath.Join(fixtures, "valid-rotated-root", "repository"))
	past := Past{Root: 1, Timestamp: []byte(`{"signed":{"version":1}}`)}
	old := AsOf(store, past)
	for name, there := range map[string]bool{
		"metadata/1.root.json": true, "metadata/2.root.json": false, "metadata/2.targets.json": true,
		"metadata/3.root.json": false, "targets/2.root.json": false, timestampFile: true,
	} {
		_, err := old.Stat(t.Context(), name)
		f, _, openErr := old.Open(t.Context(), name)
		if (err == nil) != there || (openErr == nil) != there {
			t.Errorf("%s: %v, %v", name, err, openErr)
		}
		if openErr == nil {
			f.Close()
		}
	}
	data, _, err := storage.ReadFile(t.Context(), old, timestampFile, 100)
	if err != nil || string(data) != string(past.Timestamp) || !strings.HasSuffix(old.String(), "at timestamp version 1") {
		t.Errorf("%s: %q, %v", old, data, err)
	}
}
