package repository

import (
	"errors"
	"maps"
	"testing"

	"tufboot/metadata/storage"
)

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
