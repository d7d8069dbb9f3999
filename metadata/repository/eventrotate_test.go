package repository

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tufboot/metadata/storage"
)

// watchedStore runs a check after each write.
type watchedStore struct {
	*storage.Folder
	writes int
	check  func()
}

func (w *watchedStore) after(err error) error {
	if err == nil {
		w.writes++
		w.check()
	}
	return err
}

func (w *watchedStore) Create(ctx context.Context, name string, data []byte) error {
	return w.after(w.Folder.Create(ctx, name, data))
}

func (w *watchedStore) Replace(ctx context.Context, name string, data []byte, old storage.Info) error {
	return w.after(w.Folder.Replace(ctx, name, data, old))
}

func (w *watchedStore) Remove(ctx context.Context, name string) error {
	return w.after(w.Folder.Remove(ctx, name))
}

// watchReaders lets a reader that has seen the old state, one that reads all
// the time, and a new one read after each write.
func watchReaders(t *testing.T, r *Repository, want ...string) *watchedStore {
	folder := storage.NewFolder(r.Place())
	always := newReader(t, r.Place())
	always.sees(want...)
	w := &watchedStore{Folder: folder}
	w.check = func() {
		t.Helper()
		always.sees(want...)
		late := newReader(t, r.Place())
		late.sees(want...)
	}
	r.store = w
	return w
}

// rotations are changes of keys, each with the new keys it needs.
func rotations() map[string]struct {
	keys  []string
	edits func(k *keyring) map[string]RoleEdit
} {
	type rotation = struct {
		keys  []string
		edits func(k *keyring) map[string]RoleEdit
	}
	replace := func(role, old string) rotation {
		return rotation{[]string{old + "-new"}, func(k *keyring) map[string]RoleEdit {
			return map[string]RoleEdit{role: {Remove: []string{k.id(old)}, Add: k.publics(old + "-new")}}
		}}
	}
	all := rotation{nil, func(k *keyring) map[string]RoleEdit {
		root := RoleEdit{}
		for _, name := range []string{"root-1", "root-2", "root-3"} {
			root.Remove = append(root.Remove, k.id(name))
			root.Add = append(root.Add, k.pub[name+"-new"])
		}
		edits := map[string]RoleEdit{Root: root}
		for role, name := range map[string]string{Targets: "targets", Snapshot: "snapshot", Timestamp: "timestamp", Channels: "publish", Releases: "publish"} {
			edits[role] = RoleEdit{Remove: []string{k.id(name)}, Add: k.publics(name + "-new")}
		}
		return edits
	}}
	for _, name := range firstKeys() {
		all.keys = append(all.keys, name+"-new")
	}
	return map[string]rotation{
		"timestamp": replace(Timestamp, "timestamp"),
		"snapshot":  replace(Snapshot, "snapshot"),
		"targets":   replace(Targets, "targets"),
		"root":      replace(Root, "root-1"),
		"releases":  replace(Releases, "publish"),
		"channels":  replace(Channels, "publish"),
		"all":       all,
		"all thresholds": {[]string{"targets-2", "snapshot-2", "timestamp-2", "publish-2"}, func(k *keyring) map[string]RoleEdit {
			edits := make(map[string]RoleEdit)
			for role, name := range map[string]string{Targets: "targets", Snapshot: "snapshot", Timestamp: "timestamp", Channels: "publish", Releases: "publish"} {
				edits[role] = RoleEdit{Add: k.publics(name + "-2"), Threshold: 2}
			}
			return edits
		}},
		"a key that another role has": {nil, func(k *keyring) map[string]RoleEdit {
			return map[string]RoleEdit{Timestamp: {Remove: []string{k.id("timestamp")}, Add: k.publics("snapshot")}}
		}},
		"a channel's own": {[]string{"stable-1", "stable-2"}, func(k *keyring) map[string]RoleEdit {
			return map[string]RoleEdit{ChannelRole("stable"): {Add: k.publics("stable-1", "stable-2"), Threshold: 2}}
		}},
		"renewal": {nil, func(*keyring) map[string]RoleEdit { return nil }},
	}
}

// TestRotate changes keys while clients read: at every moment they are served,
// and afterwards the new keys alone go on.
func TestRotate(t *testing.T) {
	for name, rotation := range rotations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, k := ceremonyRepo(t)
			first := newReader(t, r.Place())
			k.add(rotation.keys...)
			e := propose(t, r, rotation.edits(k))
			signEvent(t, e, k.all())
			store := watchReaders(t, r, "1")
			got, err := r.PublishEvent(t.Context(), e, k.all())
			if err != nil {
				t.Fatal(err)
			}
			if store.writes < 3 || !got.Changed {
				t.Errorf("%d writes, %+v", store.writes, got)
			}
			r.store = store.Folder
			again, err := r.PublishEvent(t.Context(), e, k.keys())
			if err != nil || again.Changed {
				t.Errorf("again: %+v, %v", again, err)
			}
			var replaced []string
			for _, name := range rotation.keys {
				if old := name[:max(0, len(name)-len("-new"))]; k.dirs[old] != "" {
					replaced = append(replaced, old)
				}
			}
			if name == "releases" || name == "channels" {
				replaced = nil // the old key stays for the other role
			}
			publish(t, r, k.all(replaced...), "2")
			first.sees("2")
			newReader(t, r.Place()).sees("2")
			if _, err := Verify(t.Context(), r.store, VerifyOptions{Options: at(start)}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRotateCrash stops the publication of a change of all keys at every write.
// Clients are served, and doing it again completes it.
func TestRotateCrash(t *testing.T) {
	rotation := rotations()["all"]
	master, k := ceremonyRepo(t)
	k.add(rotation.keys...)
	e := propose(t, master, rotation.edits(k))
	signEvent(t, e, k.all())
	var r *Repository
	var old *reader
	eachCrash(t, func(t *testing.T, crash *crashStore) error {
		r = copyRepo(t, master)
		old = newReader(t, r.Place())
		old.sees("1")
		crash.Folder = storage.NewFolder(r.Place())
		r.store = crash
		_, err := r.PublishEvent(t.Context(), e, k.all())
		return err
	}, func(t *testing.T) {
		old.sees("1")
		newReader(t, r.Place()).sees("1")
		wantNotOlder(t, r)
		again := newRepository(storage.NewFolder(r.Place()), at(start))
		if _, err := again.PublishEvent(t.Context(), e, k.all()); err != nil {
			t.Fatal(err)
		}
		publish(t, again, k.all(firstKeys()...), "2")
		old.sees("2")
		newReader(t, r.Place()).sees("2")
		wantClean(t, again)
	})
}

// TestLostTimestampKey changes the timestamp key, and then all online keys,
// without the old ones. There is a moment at which clients fail, which is warned
// of. A crash in it is completed by doing the same again, and other commands say
// so.
func TestLostTimestampKey(t *testing.T) {
	for name, gone := range map[string][]string{"timestamp": {"timestamp"}, "online keys": {"timestamp", "snapshot", "targets"}} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && len(gone) > 1 {
				t.Skip("slow")
			}
			master, k := ceremonyRepo(t)
			edits := make(map[string]RoleEdit)
			for _, role := range gone {
				k.add(role + "-new")
				edits[role] = RoleEdit{Remove: []string{k.id(role)}, Add: k.publics(role + "-new")}
			}
			e := propose(t, master, edits)
			keys := k.all(gone...)
			signEvent(t, e, keys)
			var r *Repository
			var old *reader
			var logged *logLines
			torn := 0
			eachCrash(t, func(t *testing.T, crash *crashStore) error {
				r = copyRepo(t, master)
				old = newReader(t, r.Place())
				old.sees("1")
				crash.Folder = storage.NewFolder(r.Place())
				logged = new(logLines)
				r.store, r.logger = crash, logged.logger()
				_, err := r.PublishEvent(t.Context(), e, keys)
				return err
			}, func(t *testing.T) {
				if !logged.contains("the old keys cannot sign the change") {
					t.Error("no warning")
				}
				again := newRepository(storage.NewFolder(r.Place()), at(start))
				if _, err := old.channel(); err != nil {
					torn++
					_, err := again.Status(t.Context())
					wantReason(t, err, ReasonUnfinished)
					_, err = again.Publish(t.Context(), release(t, keys, "2", "2"))
					wantReason(t, err, ReasonUnfinished)
					finishWithout(t, again, k, e, old, gone)
				}
				if _, err := again.PublishEvent(t.Context(), e, keys); err != nil {
					t.Fatal(err)
				}
				publish(t, again, keys, "2")
				old.sees("2")
				newReader(t, r.Place()).sees("2")
			})
			if torn != 3 { // after the root; before the timestamp; with half a timestamp
				t.Errorf("%d crashes left a gap, want 3", torn)
			}
		})
	}
}

// finishWithout completes a change of keys in a copy, without its event.
func finishWithout(t *testing.T, torn *Repository, k *keyring, e *Event, old *reader, gone []string) {
	t.Helper()
	r := copyRepo(t, torn)
	refresh := func(keys Signers) error {
		_, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys})
		return err
	}
	err := refresh(k.keys("snapshot", "timestamp")) // the old ones
	wantReason(t, err, ReasonUnfinished)
	var refused *RefusedError
	if want := shortID(k.id("timestamp-new")); !errors.As(err, &refused) || !strings.Contains(refused.Advice, "timestamp: 1 of "+want) {
		t.Errorf("the advice does not name the key %s: %v", want, err)
	}
	online := []string{"snapshot", "timestamp-new"}
	if len(gone) > 1 {
		online = []string{"snapshot-new", "timestamp-new"}
	}
	if err := refresh(k.keys(online...)); err != nil {
		t.Fatal(err)
	}
	here := &reader{t: t, dir: r.Place(), root: old.root, cache: t.TempDir(), now: start}
	here.sees("1")
	if got, err := r.PublishEvent(t.Context(), e, k.keys(online...)); err != nil || got.Changed {
		t.Errorf("the event after that: %+v, %v", got, err)
	}
	publish(t, r, k.all(gone...), "2")
	here.sees("2")
}
