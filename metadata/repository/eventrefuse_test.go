package repository

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
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
