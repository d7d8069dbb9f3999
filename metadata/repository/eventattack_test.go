package repository

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/storage"
)

// TestProposeRefuses asks for what would lock people out.
func TestProposeRefuses(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x", "y")
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stable := ChannelRole("stable")
	for name, c := range map[string]struct {
		roles  map[string]RoleEdit
		reason string
	}{
		"threshold below 1":           {map[string]RoleEdit{Root: {Threshold: -1}}, ReasonThreshold},
		"threshold above the keys":    {map[string]RoleEdit{Root: {Threshold: 4}}, ReasonThreshold},
		"too few keys left":           {map[string]RoleEdit{Root: {Remove: []string{k.id("root-1"), k.id("root-2")}}}, ReasonThreshold},
		"no keys left":                {map[string]RoleEdit{Timestamp: {Remove: []string{k.id("timestamp")}}}, ReasonThreshold},
		"a key twice":                 {map[string]RoleEdit{Root: {Add: k.publics("x", "x")}}, ReasonDuplicateKey},
		"a key that is there":         {map[string]RoleEdit{Root: {Add: k.publics("root-1")}}, ReasonDuplicateKey},
		"a type nobody verifies":      {map[string]RoleEdit{Root: {Add: append(k.publics("x"), p384.Public())}}, ReasonKeyType},
		"a key that is not there":     {map[string]RoleEdit{Root: {Remove: []string{k.id("targets")}}}, ReasonNoSuchKey},
		"too little of the id":        {map[string]RoleEdit{Root: {Remove: []string{k.id("root-1")[:3]}}}, ReasonNoSuchKey},
		"no id at all":                {map[string]RoleEdit{Timestamp: {Remove: []string{""}}}, ReasonNoSuchKey},
		"a role of another name":      {map[string]RoleEdit{"mirrors": {Add: k.publics("x")}}, ReasonNoSuchRole},
		"a channel of a bad name":     {map[string]RoleEdit{ChannelRole("../x"): {Add: k.publics("x")}}, ReasonNoSuchRole},
		"a channel without keys":      {map[string]RoleEdit{stable: {Threshold: 1}}, ReasonThreshold},
		"keys without a threshold":    {map[string]RoleEdit{stable: {Add: k.publics("x", "y")}}, ReasonThreshold},
		"to remove what is not there": {map[string]RoleEdit{stable: {Gone: true}}, ReasonNoSuchRole},
		"to remove a needed role":     {map[string]RoleEdit{Releases: {Gone: true}}, ReasonNoSuchRole},
		"to remove root":              {map[string]RoleEdit{Root: {Gone: true}}, ReasonNoSuchRole},
		"a window beyond the expiry":  {map[string]RoleEdit{Timestamp: {Expiry: time.Hour}}, ReasonBadPolicy},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Propose(t.Context(), ProposeOptions{Roles: c.roles})
			wantReason(t, err, c.reason)
		})
	}
	for name, alter := range map[string]func(roles map[string]RoleEdit){
		"a role without keys":      func(roles map[string]RoleEdit) { delete(roles, Snapshot) },
		"no releases":              func(roles map[string]RoleEdit) { delete(roles, Releases) },
		"keys without a threshold": func(roles map[string]RoleEdit) { roles[Root] = RoleEdit{Add: k.publics("x", "y")} },
		"threshold above the keys": func(roles map[string]RoleEdit) { roles[Root] = RoleEdit{Add: k.publics("x", "y"), Threshold: 3} },
	} {
		t.Run("new repository, "+name, func(t *testing.T) {
			roles := firstRoles(k)
			alter(roles)
			_, err := ProposeNew(ProposeOptions{Roles: roles}, start)
			wantReason(t, err, ReasonThreshold)
		})
	}
}

// TestEventRefuses reads events that somebody has made up.
func TestEventRefuses(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x")
	e := propose(t, r, map[string]RoleEdit{
		Root:     {Add: k.publics("x")},
		Channels: {Add: k.publics("x")},
	})
	ecdsaKey, err := GenerateKey(ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	asIs, id, err := tufKey(ecdsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	// The same public key under other ids: with another name for its type, and
	// with one more line end in its PEM.
	again := &tuf.Key{Type: tuf.KeyTypeECDSA_SHA2_P256_COMPAT, Scheme: asIs.Scheme, Value: asIs.Value}
	third := &tuf.Key{Type: asIs.Type, Scheme: asIs.Scheme, Value: tuf.KeyVal{PublicKey: asIs.Value.PublicKey + "\n"}}
	againID, err := again.ID()
	if err != nil {
		t.Fatal(err)
	}
	thirdID, err := third.ID()
	if err != nil {
		t.Fatal(err)
	}
	root := func(e *Event) *tuf.Role { return e.root.Signed.Roles[Root] }
	for name, c := range map[string]struct {
		change func(e *Event)
		reason string
	}{
		"threshold 0":               {func(e *Event) { root(e).Threshold = 0 }, ReasonThreshold},
		"threshold 0 of a channel":  {func(e *Event) { e.targets.Signed.Delegations.Roles[0].Threshold = 0 }, ReasonThreshold},
		"threshold above the keys":  {func(e *Event) { root(e).Threshold = 5 }, ReasonThreshold},
		"one id twice":              {func(e *Event) { root(e).KeyIDs = append(root(e).KeyIDs, k.id("x")) }, ReasonDuplicateKey},
		"root version skipped":      {func(e *Event) { e.root.Signed.Version++ }, ReasonBadEvent},
		"root version as before":    {func(e *Event) { e.root.Signed.Version-- }, ReasonBadEvent},
		"targets fast-forward":      {func(e *Event) { e.targets.Signed.Version = 1 << 60 }, ReasonBadEvent},
		"targets version as before": {func(e *Event) { e.targets.Signed.Version = 1 }, ReasonBadEvent},
		"no timestamp role":         {func(e *Event) { delete(e.root.Signed.Roles, Timestamp) }, ReasonBadEvent},
		"a null role":               {func(e *Event) { e.root.Signed.Roles[Timestamp] = nil }, ReasonBadEvent},
		"a key that is not listed":  {func(e *Event) { root(e).KeyIDs = append(root(e).KeyIDs, strings.Repeat("ab", 32)) }, ReasonKeyType},
		"a null key":                {func(e *Event) { e.root.Signed.Keys[k.id("x")] = nil }, ReasonKeyType},
		"another type":              {func(e *Event) { e.root.Signed.Type = "targets" }, ReasonBadEvent},
		"two roles of a name": {func(e *Event) {
			d := e.targets.Signed.Delegations
			d.Roles = append(d.Roles, d.Roles[0])
		}, ReasonBadEvent},
		"a role called root": {func(e *Event) { e.targets.Signed.Delegations.Roles[0].Name = Root }, ReasonBadEvent},
		"a role with a path": {func(e *Event) { e.targets.Signed.Delegations.Roles[0].Name = "../../x" }, ReasonBadEvent},
		"a key of another id": {func(e *Event) {
			e.root.Signed.Keys[strings.Repeat("ab", 32)] = e.root.Signed.Keys[k.id("x")]
			root(e).KeyIDs[3] = strings.Repeat("ab", 32)
		}, ReasonKeyType},
		"a key of a wrong scheme": {func(e *Event) {
			key := *asIs
			key.Scheme = tuf.KeySchemeECDSA_SHA2_P384
			e.root.Signed.Keys[id] = &key
			root(e).KeyIDs[3] = id
		}, ReasonKeyType},
		"a short key": {func(e *Event) { e.root.Signed.Keys[k.id("x")].Value.PublicKey = "abcd" }, ReasonKeyType},
		"one key under two ids": {func(e *Event) {
			e.root.Signed.Keys[thirdID], e.root.Signed.Keys[againID] = third, again
			root(e).KeyIDs = append(root(e).KeyIDs, thirdID, againID)
		}, ReasonDuplicateKey},
		"a root in between that nobody signed": {func(e *Event) {
			e.roots = append(e.roots, encoded1(e.root))
			e.root.Signed.Version++
		}, ReasonBadEvent},
		"targets without what was": {func(e *Event) { e.baseData = nil }, ReasonBadEvent},
		"published targets of nobody": {func(e *Event) {
			e.baseData = bytes.Replace(e.baseData, []byte(`"version": 1`), []byte(`"version": 0`), 1)
		}, ReasonBadEvent},
		"nothing":                      {func(e *Event) { e.root, e.targets, e.baseData = nil, nil, nil }, ReasonBadEvent},
		"a new repository, half":       {func(e *Event) { e.roots, e.baseData, e.targets = nil, nil, nil; e.root.Signed.Version = 1 }, ReasonBadEvent},
		"fields beside what is signed": {func(e *Event) { e.root.UnrecognizedFields = map[string]any{"x": 1} }, ReasonBadEvent},
		"fields beside a signature": {func(e *Event) {
			signOdd(e, k, func(s *tuf.Signature) { s.UnrecognizedFields = map[string]any{"x": 1} })
		}, ReasonBadEvent},
		"two signatures by a key": {func(e *Event) {
			signOdd(e, k, nil)
			e.root.Signatures = append(e.root.Signatures, e.root.Signatures[0])
		}, ReasonBadEvent},
		"a signature of something else": {func(e *Event) { signOdd(e, k, nil); e.root.Signed.Expires = start.AddDate(9, 0, 0) }, ReasonBadEvent},
		"a stranger's signature":        {func(e *Event) { signOdd(e, k, func(s *tuf.Signature) { s.KeyID = k.id("snapshot") }) }, ReasonBadEvent},
		"another's name on a signature": {func(e *Event) { signOdd(e, k, func(s *tuf.Signature) { s.KeyID = k.id("root-3") }) }, ReasonBadEvent},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := crafted(t, e, c.change)
			wantReason(t, err, c.reason)
		})
	}
}

// TestKeyWithMore adds a key that carries more than a key: its id is its hash,
// and all of it must be shown.
func TestKeyWithMore(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("x")
	key, _, err := tufKey(k.pub["x"])
	if err != nil {
		t.Fatal(err)
	}
	more := &tuf.Key{Type: key.Type, Scheme: key.Scheme, Value: key.Value, UnrecognizedFields: map[string]any{"note": "approved"}}
	id, err := more.ID()
	if err != nil {
		t.Fatal(err)
	}
	e, err := crafted(t, propose(t, r, nil), func(e *Event) {
		e.root.Signed.Keys[id] = more
		e.root.Signed.Roles[Root].KeyIDs = append(e.root.Signed.Roles[Root].KeyIDs, id)
	})
	if err != nil {
		t.Fatal(err)
	}
	c := e.Changes().Root
	if len(c.Roles) != 1 || len(c.Roles[0].Added) != 1 || c.Roles[0].Added[0].ID != k.id("x") {
		t.Errorf("the key is not shown by its own id: %+v", c.Roles)
	}
	if len(c.Other) != 1 || !strings.Contains(c.Other[0].To, "approved") {
		t.Errorf("what it carries is not shown: %+v", c.Other)
	}
}

func encoded1(md *tuf.Metadata[tuf.RootType]) []byte {
	data, err := encode(Root, md)
	if err != nil {
		panic(err)
	}
	return data
}

// signOdd signs the root with root-1 and changes the signature.
func signOdd(e *Event, k *keyring, change func(s *tuf.Signature)) {
	a, err := rootAuthority(&e.root.Signed, Root)
	if err != nil {
		panic(err)
	}
	signers, err := a.available(context.Background(), k.keys("root-1"))
	if err == nil {
		_, err = sign(e.root, signers)
	}
	if err != nil {
		panic(err)
	}
	if change != nil {
		change(&e.root.Signatures[0])
	}
}

// TestEventFile reads files that say the same in another way, more, or less.
func TestEventFile(t *testing.T) {
	r, k := ceremonyRepo(t)
	e := propose(t, r, nil)
	signEvent(t, e, k.keys("root-1", "targets"))
	data := encoded(t, e)
	again, err := ParseEvent(data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded(t, again), data) || again.ID() != e.ID() {
		t.Error("it changes when it is read and written")
	}
	text := string(data)
	for name, c := range map[string]struct{ text, reason string }{
		"empty":                   {"", ReasonBadEvent},
		"null":                    {"null", ReasonEventSchema},
		"not JSON":                {"repo", ReasonBadEvent},
		"a newer schema":          {strings.Replace(text, `"schema": 1`, `"schema": 2`, 1), ReasonEventSchema},
		"an unknown field":        {strings.Replace(text, `"schema": 1,`, `"schema": 1, "note": "sign this",`, 1), ReasonBadEvent},
		"a field twice":           {strings.Replace(text, `"schema": 1,`, `"schema": 1, "schema": 1,`, 1), ReasonBadEvent},
		"a field in another case": {strings.Replace(text, `"schema": 1,`, `"schema": 1, "Root": null,`, 1), ReasonBadEvent},
		"a threshold twice":       {strings.Replace(text, `"threshold": 2`, `"threshold": 1, "threshold": 2`, 1), ReasonBadEvent},
		"a threshold in capitals": {strings.Replace(text, `"threshold": 2`, `"Threshold": 2`, 1), ReasonBadEvent},
		"more after it":           {text + "{}", ReasonBadEvent},
		"other line ends":         {strings.ReplaceAll(text, "\n", "\r\n"), ReasonBadEvent},
		"no last line end":        {strings.TrimSuffix(text, "\n"), ReasonBadEvent},
		"too large":               {text + strings.Repeat(" ", MaxEvent), ReasonBadEvent},
	} {
		t.Run(name, func(t *testing.T) {
			if c.text == text {
				t.Fatal("nothing was changed")
			}
			_, err := ParseEvent([]byte(c.text))
			wantReason(t, err, c.reason)
		})
	}
	// Torn: cut short anywhere, or a page of zeros in the middle.
	for n := 0; n < len(data); n += 97 {
		if _, err := ParseEvent(data[:n]); err == nil {
			t.Fatalf("the first %d bytes of %d are accepted", n, len(data))
		}
		hole := slices.Clone(data)
		clear(hole[n:min(n+512, len(hole))])
		if _, err := ParseEvent(hole); err == nil {
			t.Fatalf("accepted with zeros from byte %d on", n)
		}
	}
}

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
	e, err := ProposeNew(ProposeOptions{Roles: firstRoles(k)}, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	signEvent(t, e, k.all())
	store := storage.NewFolder(t.TempDir())
	if _, err := CreateFromEvent(t.Context(), store, e, k.all(), at(start)); err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.Context(), store, at(start))
	if err != nil {
		t.Fatal(err)
	}
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

// FuzzParseEvent reads anything. What it accepts must be what it would write, and
// be shown.
func FuzzParseEvent(f *testing.F) {
	for _, seed := range fuzzEvents(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEvent(data)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("written as %q, %v", again, err)
		}
		var text bytes.Buffer
		e.Changes().WriteText(&text)
		_ = e.Complete()
	})
}

// fuzzEvents returns files of events.
func fuzzEvents(f *testing.F) [][]byte {
	pub := make(map[string]RoleEdit)
	for _, role := range append(Roles(), Channels, Releases) {
		private, err := GenerateKey(Ed25519)
		if err != nil {
			f.Fatal(err)
		}
		edit := pub[role]
		edit.Add = append(edit.Add, private.Public())
		pub[role] = edit
	}
	e, err := ProposeNew(ProposeOptions{Roles: pub}, start)
	if err != nil {
		f.Fatal(err)
	}
	data, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	return [][]byte{data, []byte(`{"schema": 1}`), []byte(`{"schema": 1, "root": {"signed": {"_type": "root", "roles": {"root": null}}, "signatures": []}}`)}
}
