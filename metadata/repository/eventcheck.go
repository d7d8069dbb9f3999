package repository

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// maxSkipped is by how many the version of new targets may be ahead: numbers
// that unfinished publications have left used.
const maxSkipped = 64

// check reports whether the event is sound: what it starts from verifies, what
// it proposes is the next version of that and allowed, and each signature in it
// verifies.
func (e *Event) check() error {
	if err := e.checkBase(); err != nil {
		return err
	}
	if e.root == nil && e.targets == nil {
		return badEvent("it proposes nothing")
	}
	if e.New() && (e.root == nil || e.targets == nil) {
		return badEvent("a new repository needs both root and targets")
	}
	if e.root != nil {
		if err := e.checkRoot(); err != nil {
			return err
		}
	}
	if e.targets != nil {
		if err := e.checkTargets(); err != nil {
			return err
		}
	}
	return e.checkSignatures()
}

// checkBase walks the row of roots, and verifies the published targets.
func (e *Event) checkBase() error {
	e.baseRoot = nil
	for i, data := range e.roots {
		root, err := parse[tuf.RootType](data)
		if err != nil {
			return badEvent("published root %d: %w", i+1, err)
		}
		if root.Signed.Version != int64(i+1) {
			return badEvent("published root %d has version %d", i+1, root.Signed.Version)
		}
		if err := verifyRoot(e.baseRoot, root); err != nil {
			return badEvent("published root %d: %w", i+1, err)
		}
		e.baseRoot = root
	}
	if (e.targets != nil && !e.New()) != (e.baseData != nil) {
		return badEvent("it must hold the published targets if, and only if, it changes them")
	}
	if e.baseData == nil {
		return nil
	}
	var err error
	if e.baseTargets, err = verified[tuf.TargetsType](e.baseRoot, Targets, "published targets", e.baseData, nil); err != nil {
		return badEvent("%w", err)
	}
	return nil
}

func (e *Event) checkRoot() error {
	signed := &e.root.Signed
	if err := checkEnvelope(e.root); err != nil {
		return badEvent("root: %w", err)
	}
	var before int64
	if !e.New() {
		before = e.baseRoot.Signed.Version
	}
	if signed.Version != before+1 {
		return badEvent("root version %d cannot follow version %d", signed.Version, before)
	}
	for _, role := range Roles() {
		after, err := rootAuthority(signed, role)
		if err != nil {
			return badEvent("%w", err)
		}
		var old *authority
		if !e.New() {
			if a, err := rootAuthority(&e.baseRoot.Signed, role); err == nil {
				old = &a
			}
		}
		if err := after.checkAfter(old); err != nil {
			return err
		}
	}
	return nil
}

func (e *Event) checkTargets() error {
	signed := &e.targets.Signed
	if err := checkEnvelope(e.targets); err != nil {
		return badEvent("targets: %w", err)
	}
	var before int64
	if e.baseTargets != nil {
		before = e.baseTargets.Signed.Version
	}
	if signed.Version <= before || signed.Version > before+1+maxSkipped || e.New() && signed.Version != 1 {
		return badEvent("targets version %d cannot follow version %d", signed.Version, before)
	}
	if signed.Delegations == nil {
		return nil
	}
	var names []string
	for _, role := range signed.Delegations.Roles {
		if err := checkRole(role.Name); err != nil || slices.Contains(names, role.Name) {
			return badEvent("targets: role name %q is not allowed, or there twice", role.Name)
		}
		names = append(names, role.Name)
		old := delegatedAuthority(e.baseTargets, role.Name)
		if err := delegatedAuthority(e.targets, role.Name).checkAfter(old); err != nil {
			return err
		}
	}
	return nil
}

// checkEnvelope refuses metadata of the wrong type, and what is not signed and
// therefore says nothing.
func checkEnvelope[T tuf.Roles](md *tuf.Metadata[T]) error {
	if got, want := typeOf(md); got != want {
		return fmt.Errorf("it is of type %q", got)
	}
	if _, err := payload(md); err != nil {
		return err
	}
	if len(md.UnrecognizedFields) > 0 || md.Signatures == nil {
		return errors.New("fields that nobody signs")
	}
	var seen []string
	for _, sig := range md.Signatures {
		if len(sig.UnrecognizedFields) > 0 || slices.Contains(seen, sig.KeyID) {
			return errors.New("a signature with unknown fields, or two by one key")
		}
		seen = append(seen, sig.KeyID)
	}
	return nil
}

// delegatedAuthority returns who may sign a role that targets delegates to, nil
// if it does not.
func delegatedAuthority(targets *tuf.Metadata[tuf.TargetsType], name string) *authority {
	if targets == nil || targets.Signed.Delegations == nil {
		return nil
	}
	for _, role := range targets.Signed.Delegations.Roles {
		if role.Name == name {
			return &authority{name, role.KeyIDs, role.Threshold, targets.Signed.Delegations.Keys}
		}
	}
	return nil
}

// checkAfter reports whether clients can live with a new authority. One that is
// as before is not looked at: a repository made by another tool may have keys
// that we would refuse.
func (a authority) checkAfter(before *authority) error {
	if before != nil && a.same(*before) {
		return nil
	}
	public := make(map[string]string)
	for _, id := range a.ids {
		own, err := ownKeyID(a.keys[id])
		if err != nil {
			return refuse(ReasonKeyType, "use ed25519, ecdsa (P-256) or rsa (2048 bits or more)", "role %s: key %s: %w", a.role, shortID(id), err)
		}
		if other, twice := public[own]; twice {
			return refuse(ReasonDuplicateKey, "give each signer a key of its own",
				"role %s: key %s is there twice (also as %s)", a.role, shortID(id), shortID(other))
		}
		public[own] = id
		if before != nil && slices.Contains(before.ids, id) && sameKey(a.keys[id], before.keys[id]) {
			continue
		}
		if err := checkNewKeyForm(a.keys[id], id); err != nil {
			return refuse(ReasonKeyType, "add keys with repo-tool", "role %s: key %s: %w", a.role, shortID(id), err)
		}
	}
	if a.threshold < 1 || a.threshold > len(public) {
		return refuse(ReasonThreshold, "use a threshold from 1 to the number of keys",
			"role %s: threshold %d with %d keys", a.role, a.threshold, len(public))
	}
	return nil
}

// checkNewKeyForm reports whether clients of all kinds can use a key: it must
// name the scheme that belongs to its type, and its id must be its hash.
func checkNewKeyForm(key *tuf.Key, id string) error {
	if _, known := keySchemes()[[2]string{key.Type, key.Scheme}]; !known {
		return fmt.Errorf("type %q with scheme %q", key.Type, key.Scheme)
	}
	data, err := json.Marshal(key)
	if err != nil {
		return err
	}
	fresh := new(tuf.Key) // the other may remember an id
	if err := json.Unmarshal(data, fresh); err != nil {
		return err
	}
	if sum, err := fresh.ID(); err != nil || sum != id {
		return errors.New("its id is not its hash")
	}
	return nil
}

// keySchemes are the types of keys with the scheme of their signatures (TUF
// specification, section 4.2).
func keySchemes() map[[2]string]bool {
	return map[[2]string]bool{
		{tuf.KeyTypeEd25519, tuf.KeySchemeEd25519}:                        true,
		{tuf.KeyTypeECDSA_SHA2_P256, tuf.KeySchemeECDSA_SHA2_P256}:        true,
		{tuf.KeyTypeECDSA_SHA2_P256_COMPAT, tuf.KeySchemeECDSA_SHA2_P256}: true,
		{tuf.KeyTypeRSASSA_PSS_SHA256, tuf.KeySchemeRSASSA_PSS_SHA256}:    true,
	}
}

// same reports whether two authorities are the same: ids, keys and threshold.
func (a authority) same(b authority) bool {
	if a.threshold != b.threshold || !slices.Equal(a.ids, b.ids) {
		return false
	}
	for _, id := range a.ids {
		if !sameKey(a.keys[id], b.keys[id]) {
			return false
		}
	}
	return true
}

// covers reports whether all that b can have signed verifies under a, too.
func (a authority) covers(b authority) bool {
	if a.threshold > b.threshold {
		return false
	}
	for _, id := range b.ids {
		if !slices.Contains(a.ids, id) || !sameKey(a.keys[id], b.keys[id]) {
			return false
		}
	}
	return true
}

// sameKey compares all of two keys, fields that nobody knows included.
func sameKey(a, b *tuf.Key) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Type == b.Type && a.Scheme == b.Scheme && a.Value.PublicKey == b.Value.PublicKey &&
		sameFields(a.UnrecognizedFields, b.UnrecognizedFields) &&
		sameFields(a.Value.UnrecognizedFields, b.Value.UnrecognizedFields)
}

func sameFields(a, b map[string]any) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}
