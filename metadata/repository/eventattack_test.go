package repository

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tufboot/metadata/storage"
)

// TestSigning signs twice, with the wrong keys, and with a forgotten password.
func TestSigning(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x")
	e := propose(t, r, map[string]RoleEdit{Root: {Add: k.publics("x")}})
	id := e.ID()
	for _, wrong := range []*KeyDir{k.keys("targets", "snapshot", "publish"), k.keys()} {
		_, err := e.Sign(t.Context(), wrong)
		wantReason(t, err, ReasonNotSigner)
	}
	dir := t.TempDir()
	private, err := GenerateKey(Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := WriteKey(dir, "y", private, []byte("right")); err != nil {
		t.Fatal(err)
	}
	keys, err := OpenKeys([]string{dir}, func(string) ([]byte, error) { return []byte("wrong"), nil })
	if err != nil {
		t.Fatal(err)
	}
	k.pub["y"] = private.Public()
	e2 := propose(t, r, map[string]RoleEdit{Root: {Add: k.publics("y")}})
	_, err = e2.Sign(t.Context(), keys)
	wantReason(t, err, ReasonWrongPassword)
	if err := os.WriteFile(filepath.Join(dir, "y.key"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e2.Sign(t.Context(), keys); err == nil {
		t.Error("signed with a torn key")
	}
	if len(e2.root.Signatures) > 0 {
		t.Error("there are signatures")
	}

	signEvent(t, e, k.keys("root-1"))
	signEvent(t, e, k.keys("root-1", "x"))
	if n := len(e.root.Signatures); n != 2 {
		t.Errorf("%d signatures, want 2", n)
	}
	if e.Complete() {
		t.Error("complete with 1 of 2 old keys")
	}
	_, err = r.PublishEvent(t.Context(), e, k.all())
	wantReason(t, err, ReasonUnsigned)
	signEvent(t, e, k.keys("root-2"))
	if e.ID() != id || !e.Complete() {
		t.Errorf("identity %s, complete: %v", e.ID(), e.Complete())
	}
}

// TestOldThreshold has enough of the new keys, and not of the old.
func TestOldThreshold(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x", "y")
	e := propose(t, r, map[string]RoleEdit{Root: {Add: k.publics("x", "y")}})
	signEvent(t, e, k.keys("root-1", "x", "y"))
	_, err := r.PublishEvent(t.Context(), e, k.all())
	wantReason(t, err, ReasonUnsigned)
	// The check of the file is not the only one.
	ed, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ed.Close()
	ed.adoptRoot(e.root)
	before := tree(t, r.Place())
	if _, err := ed.Commit(t.Context(), k.all()); err == nil {
		t.Error("a root that the old one does not accept was published")
	}
	if !slices.Equal(before, tree(t, r.Place())) {
		t.Error("something was written")
	}
}

// TestMergeRefuses merges what does not belong together.
func TestMergeRefuses(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x")
	a := propose(t, r, map[string]RoleEdit{Root: {Add: k.publics("x")}})
	b := propose(t, r, map[string]RoleEdit{Root: {Add: k.publics("x"), Threshold: 1}})
	_, err := MergeEvents(a, b)
	wantReason(t, err, ReasonOtherEvent)
	c, err := a.copy()
	if err != nil {
		t.Fatal(err)
	}
	signEvent(t, c, k.keys("x"))
	merged, err := MergeEvents(a, c, c)
	if err != nil || len(merged.root.Signatures) != 1 || len(a.root.Signatures) != 0 {
		t.Errorf("%d signatures in the merged one, %d in the first; %v", len(merged.root.Signatures), len(a.root.Signatures), err)
	}
	c.root.Signatures[0].Signature[0] ^= 1
	_, err = MergeEvents(a, c)
	wantReason(t, err, ReasonBadEvent)
	if _, err = MergeEvents(); err == nil {
		t.Error("merged nothing")
	}
}

// TestReplay publishes events that were right once, or elsewhere.
func TestReplay(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x", "y")
	firstRoot, err := readMetadata(t.Context(), r.store, versionedFile(Root, 1))
	if err != nil {
		t.Fatal(err)
	}
	old := propose(t, r, map[string]RoleEdit{Root: {Add: k.publics("x")}})
	signEvent(t, old, k.all())
	oldTargets := propose(t, r, map[string]RoleEdit{ChannelRole("beta"): {Add: k.publics("x")}})
	signEvent(t, oldTargets, k.all())
	change(t, r, k, map[string]RoleEdit{Root: {Add: k.publics("y")}})
	staleTargets := propose(t, r, map[string]RoleEdit{ChannelRole("beta"): {Add: k.publics("x")}})
	signEvent(t, staleTargets, k.all())
	change(t, r, k, map[string]RoleEdit{ChannelRole("stable"): {Add: k.publics("y")}})
	secondRoot, err := readMetadata(t.Context(), r.store, versionedFile(Root, 2))
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t, r.Place())
	for e, text := range map[*Event]string{old: "root version", oldTargets: "root version", staleTargets: "targets version"} {
		_, err := r.PublishEvent(t.Context(), e, k.all())
		wantReason(t, err, ReasonConflict)
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want something about the %s", err, text)
		}
	}
	now := propose(t, r, nil)
	signEvent(t, now, k.all())
	for name, c := range map[string]struct {
		e       *Event
		trusted []byte
		ok      bool
	}{
		"the same":   {now, secondRoot, true},
		"descendant": {now, firstRoot, true},
		"old event":  {old, secondRoot, false},
		"not a root": {now, []byte("{}"), false},
	} {
		if err := c.e.CheckTrusted(c.trusted); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}

	// Another repository, of the same people: its keys are the same.
	other, e := foundRepo(t, k, start.Add(time.Hour))
	theirs := propose(t, other, map[string]RoleEdit{Root: {Add: k.publics("x")}})
	signEvent(t, theirs, k.all())
	wantReason(t, theirs.CheckTrusted(firstRoot), ReasonUntrusted)
	wantReason(t, e.CheckTrusted(firstRoot), ReasonUntrusted)
	_, err = r.PublishEvent(t.Context(), theirs, k.all())
	wantReason(t, err, ReasonConflict)
	_, err = r.PublishEvent(t.Context(), e, k.all())
	wantReason(t, err, ReasonExists)
	_, err = CreateFromEvent(t.Context(), r.store, e, k.all(), at(start))
	wantReason(t, err, ReasonExists)
	_, err = CreateFromEvent(t.Context(), storage.NewFolder(t.TempDir()), now, k.all(), at(start))
	wantReason(t, err, ReasonNotRepository)

	// Signed in time, published years later.
	r.now = func() time.Time { return start.AddDate(3, 0, 0) }
	_, err = r.PublishEvent(t.Context(), now, k.all())
	wantReason(t, err, "metadata-expired")
	if !slices.Equal(before, tree(t, r.Place())) {
		t.Error("something was written")
	}
}

// TestConcurrentRelease publishes a release between the proposal of an event and
// its publication: both must be there afterwards.
func TestConcurrentRelease(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("stable-1", "publish-2")
	e := propose(t, r, map[string]RoleEdit{
		ChannelRole("stable"): {Add: k.publics("stable-1")},
		Releases:              {Remove: []string{k.id("publish")}, Add: k.publics("publish-2")},
	})
	signEvent(t, e, k.all())
	publish(t, r, k.keys("publish", "snapshot", "timestamp"), "2")
	old := newReader(t, r.Place())
	old.sees("2")
	if _, err := r.PublishEvent(t.Context(), e, k.all()); err != nil {
		t.Fatal(err)
	}
	old.sees("2")
	newReader(t, r.Place()).sees("2")
}

// TestFakedRoot puts a root into the repository that the one before has not
// signed: no command may build on it.
func TestFakedRoot(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x")
	e := propose(t, r, map[string]RoleEdit{Root: {Remove: []string{k.id("root-1"), k.id("root-2"), k.id("root-3")}, Add: k.publics("x"), Threshold: 1}})
	signEvent(t, e, k.keys("x"))
	if err := r.store.Create(t.Context(), versionedFile(Root, 2), encoded1(e.root)); err != nil {
		t.Fatal(err)
	}
	_, err := r.Propose(t.Context(), ProposeOptions{})
	wantReason(t, err, ReasonBadRepository)
	_, err = r.Refresh(t.Context(), RefreshOptions{Keys: k.all(), All: true})
	wantReason(t, err, ReasonBadRepository)
}
