package repository

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"maps"
	"os"
	"slices"
	"testing"

	"tufboot/metadata/storage"
)

// keyring is private keys by name, such as "root-1".
type keyring struct {
	t    *testing.T
	dirs map[string]string // each key in a folder of its own
	pub  map[string]crypto.PublicKey
}

// newKeyring makes keys of ed25519, the same for the same name.
func newKeyring(t *testing.T, names ...string) *keyring {
	k := &keyring{t: t, dirs: make(map[string]string), pub: make(map[string]crypto.PublicKey)}
	k.add(names...)
	return k
}

func (k *keyring) add(names ...string) {
	k.t.Helper()
	for _, name := range names {
		seed := sha256.Sum256([]byte(name))
		private := ed25519.NewKeyFromSeed(seed[:])
		dir := k.t.TempDir()
		if _, err := WriteKey(dir, name, private, nil); err != nil {
			k.t.Fatal(err)
		}
		k.dirs[name], k.pub[name] = dir, private.Public()
	}
}

// keys returns the named private keys.
func (k *keyring) keys(names ...string) *KeyDir {
	k.t.Helper()
	var dirs []string
	for _, name := range names {
		if k.dirs[name] == "" {
			k.t.Fatalf("no key %s", name)
		}
		dirs = append(dirs, k.dirs[name])
	}
	keys, err := OpenKeys(dirs, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return keys
}

// all returns all private keys but those named.
func (k *keyring) all(but ...string) *KeyDir {
	var names []string
	for name := range k.dirs {
		if !slices.Contains(but, name) {
			names = append(names, name)
		}
	}
	return k.keys(names...)
}

func (k *keyring) id(name string) string {
	k.t.Helper()
	id, err := KeyID(k.pub[name])
	if err != nil {
		k.t.Fatal(err)
	}
	return id
}

func (k *keyring) publics(names ...string) []crypto.PublicKey {
	var list []crypto.PublicKey
	for _, name := range names {
		if k.pub[name] == nil {
			k.t.Fatalf("no key %s", name)
		}
		list = append(list, k.pub[name])
	}
	return list
}

// firstKeys are the keys of ceremonyRepo.
func firstKeys() []string {
	return []string{"root-1", "root-2", "root-3", "targets", "snapshot", "timestamp", "publish"}
}

// firstRoles are the edits that make a repository: root needs 2 of 3.
func firstRoles(k *keyring) map[string]RoleEdit {
	return map[string]RoleEdit{
		Root:      {Add: k.publics("root-1", "root-2", "root-3"), Threshold: 2},
		Targets:   {Add: k.publics("targets")},
		Snapshot:  {Add: k.publics("snapshot")},
		Timestamp: {Add: k.publics("timestamp")},
		Channels:  {Add: k.publics("publish")},
		Releases:  {Add: k.publics("publish")},
	}
}

// ceremonyRepo makes a repository by an event, with one release.
func ceremonyRepo(t *testing.T) (*Repository, *keyring) {
	t.Helper()
	k := newKeyring(t, firstKeys()...)
	e, err := ProposeNew(ProposeOptions{Roles: firstRoles(k)}, start)
	if err != nil {
		t.Fatal(err)
	}
	signEvent(t, e, k.all())
	store := storage.NewFolder(t.TempDir())
	if _, err := CreateFromEvent(t.Context(), store, e, k.all(), at(start)); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), store, at(start))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, r, k.all(), "1")
	return r, k
}

// copyRepo returns a copy of a repository: quicker than to make another.
func copyRepo(t *testing.T, r *Repository) *Repository {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(r.Place())); err != nil {
		t.Fatal(err)
	}
	return newRepository(storage.NewFolder(dir), at(start))
}

func propose(t *testing.T, r *Repository, roles map[string]RoleEdit) *Event {
	t.Helper()
	e, err := r.Propose(t.Context(), ProposeOptions{Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func signEvent(t *testing.T, e *Event, keys Signers) {
	t.Helper()
	if _, err := e.Sign(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
}

// change proposes, signs and publishes with all keys.
func change(t *testing.T, r *Repository, k *keyring, roles map[string]RoleEdit) *Event {
	t.Helper()
	e := propose(t, r, roles)
	signEvent(t, e, k.all())
	if _, err := r.PublishEvent(t.Context(), e, k.all()); err != nil {
		t.Fatal(err)
	}
	return e
}

func encoded(t *testing.T, e *Event) []byte {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCeremony is the life of a repository: three people found it, one is added,
// one loses a key, one leaves.
func TestCeremony(t *testing.T) {
	k := newKeyring(t, firstKeys()...)
	e, err := ProposeNew(ProposeOptions{Roles: firstRoles(k)}, start)
	if err != nil {
		t.Fatal(err)
	}
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
	if e, err = MergeEvents(copies...); err != nil {
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

// TestCreateFromEventCrash does the same for a first ceremony.
func TestCreateFromEventCrash(t *testing.T) {
	k := newKeyring(t, firstKeys()...)
	e, err := ProposeNew(ProposeOptions{Roles: firstRoles(k)}, start)
	if err != nil {
		t.Fatal(err)
	}
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

// TestChannelRole gives a channel keys of its own and takes them away again: the
// channel never shows an older release than before.
func TestChannelRole(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("stable-1", "stable-2", "stable-3")
	stable := ChannelRole("stable")
	change(t, r, k, map[string]RoleEdit{stable: {Add: k.publics("stable-1", "stable-2"), Threshold: 2}})
	old := newReader(t, r.Place())
	old.sees("1")
	st, err := load(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	if channels, err := st.role(t.Context(), Channels, Targets); err != nil || len(channels.md.Signed.Targets) > 0 {
		t.Errorf("role channels still has the channel (%v)", err)
	}
	_, err = r.Publish(t.Context(), release(t, k.all("stable-2"), "2", "2"))
	wantReason(t, err, ReasonNotEnoughKeys)
	publish(t, r, k.all(), "2")
	old.sees("2")
	var list []RoleAuthority
	list, err = r.Authorities(t.Context())
	if err != nil || list[4].Role != stable || list[4].Threshold != 2 || list[5].Role != Channels {
		t.Fatalf("%+v, %v", list, err)
	}

	// Another person for stable: nobody but targets has to agree.
	e := propose(t, r, map[string]RoleEdit{stable: {Remove: []string{k.id("stable-1")}, Add: k.publics("stable-3")}})
	signEvent(t, e, k.keys("targets"))
	if _, err := r.PublishEvent(t.Context(), e, k.all("stable-1")); err != nil {
		t.Fatal(err)
	}
	publish(t, r, k.all("stable-1"), "3")
	old.sees("3")

	change(t, r, k, map[string]RoleEdit{stable: {Gone: true}})
	old.sees("3")
	publish(t, r, k.all("stable-1", "stable-2", "stable-3"), "4")
	old.sees("4")
	change(t, r, k, map[string]RoleEdit{stable: {Add: k.publics("stable-1")}})
	old.sees("4")
	newReader(t, r.Place()).sees("4")
	publish(t, r, k.keys("stable-1", "publish", "snapshot", "timestamp"), "5")
	old.sees("5")
}

// TestLegacyDelegations gives a repository whose targets.json lists everything
// the roles of ours.
func TestLegacyDelegations(t *testing.T) {
	roles, keys, _ := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
	publisher := roles[Releases]
	roles = maps.Clone(roles)
	delete(roles, Releases)
	delete(roles, Channels)
	r, err := Create(t.Context(), storage.NewFolder(t.TempDir()), CreateOptions{Options: at(start), Roles: roles, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, r, keys, "1")
	old := newReader(t, r.Place())
	old.sees("1")
	e := propose(t, r, map[string]RoleEdit{Channels: {Add: publisher.Keys}, Releases: {Add: publisher.Keys}, ChannelRole("stable"): {Add: publisher.Keys}})
	if n := len(e.Changes().Targets.Other); n != 4 {
		t.Errorf("%d other changes, want the 4 targets", n)
	}
	signEvent(t, e, keys)
	store := watchReaders(t, r, "1")
	if _, err := r.PublishEvent(t.Context(), e, keys); err != nil {
		t.Fatal(err)
	}
	r.store = store.Folder
	if n := len(e.targets.Signed.Targets); n != 0 {
		t.Errorf("%d targets are left", n)
	}
	publish(t, r, keys, "2")
	old.sees("2")
}

// TestBinsFollowTheirRole changes the keys of releases when it has bins.
func TestBinsFollowTheirRole(t *testing.T) {
	r, k := ceremonyRepo(t)
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.state.role(t.Context(), Releases, Targets); err != nil {
		t.Fatal(err)
	}
	if err := e.split(t.Context(), e.state.roles[Releases], 4); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(t.Context(), k.all()); err != nil {
		t.Fatal(err)
	}
	e.Close()
	old := newReader(t, r.Place())
	old.sees("1")
	k.add("r2", "r3")
	// One key more: the bins stay as they are, and must accept it.
	published := change(t, r, k, map[string]RoleEdit{Releases: {Add: k.publics("r2")}})
	if !published.Complete() {
		t.Error("not complete")
	}
	publish(t, r, k.keys("r2", "publish", "snapshot", "timestamp"), "2")
	old.sees("2")
	// Other keys: all bins are signed again.
	change(t, r, k, map[string]RoleEdit{Releases: {Remove: []string{k.id("publish"), k.id("r2")}, Add: k.publics("r3")}})
	old.sees("2")
	newReader(t, r.Place()).sees("2")
	publish(t, r, k.keys("r3", "publish", "snapshot", "timestamp"), "3")
	old.sees("3")
	if _, err := Verify(t.Context(), r.store, VerifyOptions{Options: at(start)}); err != nil {
		t.Error(err)
	}
}

// TestChangeKeys is the one-step way.
func TestChangeKeys(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x")
	opts := ProposeOptions{Roles: map[string]RoleEdit{Timestamp: {Remove: []string{k.id("timestamp")}, Add: k.publics("x")}}}
	for _, keys := range []*KeyDir{k.keys("root-1", "x", "snapshot"), k.keys("x"), k.all("x")} {
		_, err := r.ChangeKeys(t.Context(), opts, keys)
		wantReason(t, err, ReasonNotEnoughKeys)
		var refused *RefusedError
		if errors.As(err, &refused); refused.Advice == "" {
			t.Error("no advice")
		}
	}
	got, err := r.ChangeKeys(t.Context(), opts, k.keys("root-1", "root-2", "snapshot", "timestamp", "x"))
	if err != nil || !got.Published.Changed {
		t.Fatalf("%+v, %v", got, err)
	}
	newReader(t, r.Place()).sees("1")
}
