package repository

import (
	"slices"
	"testing"

	"tufboot/metadata/storage"
)

// TestCeremony is the life of a repository: three people found it, one is added,
// one loses a key, one leaves.
func TestCeremony(t *testing.T) {
	k := newKeyring(t, firstKeys()...)
	e := proposeNew(t, k, start)
	store := storage.NewFolder(t.TempDir())
	online := k.keys("snapshot", "timestamp", "publish")
	create := func() error {
		_, err := CreateFromEvent(t.Context(), store, e, online, at(start))
		return err
	}
	wantReason(t, create(), ReasonUnsigned)
	// The event travels: each signs a copy, and the copies are merged.
	var copies []*Event
	for _, name := range []string{"root-1", "root-3", "targets"} {
		c, err := ParseEvent(encoded(t, e))
		if err != nil {
			t.Fatal(err)
		}
		by, err := c.Sign(t.Context(), k.keys(name))
		if err != nil || len(by) != 1 || by[0].ID != k.id(name) {
			t.Fatalf("signed by %v, %v", by, err)
		}
		if c.Complete() {
			t.Error("one signature is enough")
		}
		copies = append(copies, c)
	}
	e, err := MergeEvents(copies...)
	if err != nil {
		t.Fatal(err)
	}
	if err := create(); err != nil {
		t.Fatal(err)
	}
	first := newReader(t, store.String())
	first.sees("")
	r, err := Open(t.Context(), store, at(start))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, r, online, "1")
	// Again: nothing to do.
	if got, err := CreateFromEvent(t.Context(), store, e, online, at(start)); err != nil || got.Changed {
		t.Errorf("again: %+v, %v", got, err)
	}

	k.add("root-4", "root-5")
	change(t, r, k, map[string]RoleEdit{Root: {Add: k.publics("root-4"), Threshold: 3}})
	change(t, r, k, map[string]RoleEdit{Root: {Remove: []string{k.id("root-1")[:8]}, Add: k.publics("root-5")}})
	change(t, r, k, map[string]RoleEdit{Root: {Remove: []string{k.id("root-2")}, Threshold: 2}})
	change(t, r, k, nil)
	publish(t, r, online, "2")
	first.sees("2") // walks from root version 1 to 5
	newReader(t, store.String()).sees("2")
	list, err := r.Authorities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root := list[0]
	if root.Threshold != 2 || len(root.Keys) != 3 || root.Keys[0].ID != k.id("root-3") {
		t.Errorf("root: %+v", root)
	}
	if s, err := r.Status(t.Context()); err != nil || s.Roles[0].Version != 5 || s.Roles[1].Version != 2 {
		t.Errorf("status: %+v, %v", s, err)
	}
}

// TestCreateFromEventCrash does the same for a first ceremony.
func TestCreateFromEventCrash(t *testing.T) {
	k := newKeyring(t, firstKeys()...)
	e := proposeNew(t, k, start)
	signEvent(t, e, k.keys("root-1", "root-2", "targets"))
	// Then one more signature comes in.
	more, err := ParseEvent(encoded(t, e))
	if err != nil {
		t.Fatal(err)
	}
	signEvent(t, more, k.keys("root-3"))
	var dir string
	eachCrash(t, func(t *testing.T, crash *crashStore) error {
		dir = t.TempDir()
		crash.Folder = storage.NewFolder(dir)
		_, err := CreateFromEvent(t.Context(), crash, e, k.all(), at(start))
		return err
	}, func(t *testing.T) {
		store := storage.NewFolder(dir)
		if _, err := CreateFromEvent(t.Context(), store, more, k.all(), at(start)); err != nil {
			t.Fatal(err)
		}
		newReader(t, dir).sees("")
	})
}

// TestEventNeedsOnlineKeys publishes without them: nothing may be written.
func TestEventNeedsOnlineKeys(t *testing.T) {
	for name, c := range map[string]struct {
		edits func(k *keyring) map[string]RoleEdit
		not   string
	}{
		"timestamp": {func(k *keyring) map[string]RoleEdit {
			return map[string]RoleEdit{Root: {Add: k.publics("x")}}
		}, "timestamp"},
		"a delegated role": {func(k *keyring) map[string]RoleEdit {
			return map[string]RoleEdit{Releases: {Remove: []string{k.id("publish")}, Add: k.publics("x")}}
		}, "x"},
		"a new channel's": {func(k *keyring) map[string]RoleEdit {
			return map[string]RoleEdit{ChannelRole("beta"): {Add: k.publics("x")}}
		}, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			r, k := ceremonyRepo(t)
			k.add("x")
			e := propose(t, r, c.edits(k))
			signEvent(t, e, k.all("x"))
			before := tree(t, r.Place())
			_, err := r.PublishEvent(t.Context(), e, k.all(c.not))
			wantReason(t, err, ReasonNotEnoughKeys)
			if !slices.Equal(before, tree(t, r.Place())) {
				t.Error("something was written")
			}
		})
	}
}
