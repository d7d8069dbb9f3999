package repository

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tufboot/metadata/storage"
)

// TestBridgeIsCovered: the timestamp that bridges a change of keys is not written
// to the history. It need not be: it leads to the very snapshot that the next one
// leads to, so what is kept for nodes that hold that one, and tried from there,
// serves those that hold the bridge.
func TestBridgeIsCovered(t *testing.T) {
	r, k := ceremonyRepo(t)
	rotation := rotations()["all"]
	k.add(rotation.keys...)
	e := propose(t, r, rotation.edits(k))
	signEvent(t, e, k.all())
	path := filepath.Join(r.Place(), filepath.FromSlash(timestampFile))
	var shown [][]byte
	var onBridge *reader
	store := &watchedStore{Folder: storage.NewFolder(r.Place())}
	store.check = func() {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(shown) > 0 && string(data) == string(shown[len(shown)-1]) {
			return
		}
		if shown = append(shown, data); len(shown) == 2 {
			onBridge = newReader(t, r.Place())
			onBridge.sees("1")
		}
	}
	r.store = store
	if _, err := r.PublishEvent(t.Context(), e, k.all()); err != nil {
		t.Fatal(err)
	}
	if len(shown) != 3 {
		t.Fatalf("readers were shown %d timestamps, want the old one, the bridge, and the new one", len(shown))
	}
	// Releases come and go, and a prune keeps only what the state after the bridge
	// needs, which is within the grace period. The files' times are real.
	keys, now := k.all(firstKeys()...), time.Now()
	later := func(d time.Duration) *Repository { return newRepository(store.Folder, at(now.Add(d))) }
	for i, version := range []string{"2", "3", "4", "5", "6", "7"} {
		publish(t, later(2*time.Hour+time.Duration(i)*time.Minute), keys, version)
	}
	r = later(4 * time.Hour)
	pruned, err := r.Prune(t.Context(), PruneOptions{Grace: 150 * time.Minute, Keep: 1, Keys: keys})
	if err != nil || len(pruned.Files) == 0 {
		t.Fatalf("pruned %+v, %v", pruned, err)
	}
	states, err := historyVersions(t.Context(), store.Folder)
	if err != nil {
		t.Fatal(err)
	}
	bridge, err := timestampVersion(shown[1])
	if err != nil || slices.Contains(states, bridge) {
		t.Errorf("version %d of the bridge is in the history %v (%v)", bridge, states, err)
	}
	held := named(t, r, shown[1])
	if next := named(t, r, shown[2]); !maps.Equal(held, next) {
		t.Errorf("the bridge names\n%v\nand what follows it\n%v", held, next)
	}
	for name := range held {
		if _, err := store.Stat(t.Context(), name); err != nil {
			t.Errorf("a node that holds the bridge lacks %s: %v", name, err)
		}
	}
	onBridge.sees("7")
}

// named returns the names of the files that a timestamp leads to, under the newest
// root.
func named(t *testing.T, r *Repository, timestamp []byte) map[string]bool {
	t.Helper()
	root, _, err := loadRoot(t.Context(), r.store, 0)
	if err != nil {
		t.Fatal(err)
	}
	st := &state{from: r.store, root: root, timestampData: timestamp, roles: make(map[string]*targetsRole)}
	if err := st.loadBelowRoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := &namer{make(map[string]bool), make(map[string]bool), func(string) bool { return true }}
	if err := n.add(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	return n.files
}
