package repository

import (
	"context"
	"fmt"
	"slices"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// KeyRef names a public key.
type KeyRef struct {
	// ID is the key's TUF id, computed from the key and not read from the file.
	ID   string  `json:"id"`
	Type KeyType `json:"type"`
}

// keyRef names the key that metadata lists under an id.
func (a authority) keyRef(id string) KeyRef {
	ref := KeyRef{ID: id}
	key := a.keys[id]
	if key == nil {
		return ref
	}
	ref.Type = KeyType(key.Type)
	if public, err := key.ToPublicKey(); err == nil {
		if own, err := KeyID(public); err == nil {
			ref.ID = own
		}
		if t, err := TypeOf(public); err == nil {
			ref.Type = t
		}
	}
	return ref
}

// SignatureNeed says who has signed a piece of metadata, of those that one
// authority allows to.
type SignatureNeed struct {
	Metadata string `json:"metadata"` // Root or Targets
	// Keys are "old", "new", or "all" where the two are the same.
	Keys string `json:"keys"`
	// Required is false for the old targets keys while the root takes them away:
	// they need not sign. Without them a client that reads between two writes of
	// the publication fails once.
	Required  bool     `json:"required"`
	Threshold int      `json:"threshold"`
	Signed    []KeyRef `json:"signed"`
	Missing   []KeyRef `json:"missing"`
}

// Met reports whether the threshold is reached.
func (n SignatureNeed) Met() bool { return len(n.Signed) >= n.Threshold }

// grant is an authority that may sign a part of the event.
type grant struct {
	authority
	which    string // SignatureNeed.Keys
	required bool
}

// part is one piece of metadata to be signed.
type part struct {
	role       string
	message    []byte
	signatures []tuf.Signature
	grants     []grant
}

// parts returns what is to be signed, and by whom.
func (e *Event) parts() []part {
	root, targets := e.grants()
	var parts []part
	if e.root != nil {
		message, _ := payload(e.root) // check has encoded it before
		parts = append(parts, part{Root, message, e.root.Signatures, root})
	}
	if e.targets != nil {
		message, _ := payload(e.targets)
		parts = append(parts, part{Targets, message, e.targets.Signatures, targets})
	}
	return parts
}

// grants returns who may sign the new root and the new targets.
func (e *Event) grants() (root, targets []grant) {
	both := func(role string, before, after *tuf.Metadata[tuf.RootType], oldRequired bool) []grant {
		now, err := rootAuthority(&after.Signed, role)
		if err != nil {
			return nil // check refuses such a root
		}
		if before != nil {
			if old, err := rootAuthority(&before.Signed, role); err == nil && !old.same(now) {
				return []grant{{old, "old", oldRequired}, {now, "new", true}}
			}
		}
		return []grant{{now, "all", true}}
	}
	if e.root != nil {
		root = both(Root, e.baseRoot, e.root, true)
	}
	if e.targets != nil {
		targets = both(Targets, e.baseRoot, e.authorityRoot(), false)
	}
	return root, targets
}

// verifiedBy returns those of the authority's key ids that have signed the
// message.
func (a authority) verifiedBy(message []byte, signatures []tuf.Signature) []string {
	var ids []string
	for _, sig := range signatures {
		key := a.keys[sig.KeyID]
		if key == nil || !slices.Contains(a.ids, sig.KeyID) {
			continue
		}
		public, err := key.ToPublicKey()
		if err == nil && verifySignature(public, message, sig.Signature) == nil {
			ids = append(ids, sig.KeyID)
		}
	}
	return ids
}

// need counts the signatures of an authority.
func (g grant) need(message []byte, signatures []tuf.Signature) SignatureNeed {
	need := SignatureNeed{Metadata: g.role, Keys: g.which, Required: g.required, Threshold: g.threshold, Signed: []KeyRef{}, Missing: []KeyRef{}}
	valid := g.verifiedBy(message, signatures)
	for _, id := range g.ids {
		ref := g.keyRef(id)
		switch {
		case !slices.Contains(valid, id):
			need.Missing = append(need.Missing, ref)
		case !slices.Contains(need.Signed, ref): // a key counts once, whatever its ids
			need.Signed = append(need.Signed, ref)
		}
	}
	return need
}

// Needs returns which signatures are there and which are still needed.
func (e *Event) Needs() []SignatureNeed {
	var needs []SignatureNeed
	for _, part := range e.parts() {
		for _, g := range part.grants {
			needs = append(needs, g.need(part.message, part.signatures))
		}
	}
	return needs
}

// Complete reports whether all required signatures are there, so that the event
// can be published.
func (e *Event) Complete() bool { return e.checkComplete() == nil }

func (e *Event) checkComplete() error {
	for _, n := range e.Needs() {
		if n.Required && !n.Met() {
			return refuse(ReasonUnsigned, "let more of their holders sign the event, and merge what they hand back",
				"event: the new %s needs signatures by %d of its %s, and has %d", n.Metadata, n.Threshold, keysPhrase(n), len(n.Signed))
		}
	}
	return nil
}

func keysPhrase(n SignatureNeed) string {
	total := len(n.Signed) + len(n.Missing)
	if n.Keys == "all" {
		return fmt.Sprintf("%d keys", total)
	}
	return fmt.Sprintf("%d %s keys", total, n.Keys)
}

// checkSignatures refuses signatures that do not verify, and those by keys that
// have no say: a file that was altered, or one that was signed by mistake.
func (e *Event) checkSignatures() error {
	for _, part := range e.parts() {
		if err := part.checkSignatures(); err != nil {
			return err
		}
	}
	return nil
}

func (p part) checkSignatures() error {
	var known, valid []string
	for _, g := range p.grants {
		known = append(known, g.ids...)
		valid = append(valid, g.verifiedBy(p.message, p.signatures)...)
	}
	for _, sig := range p.signatures {
		if !slices.Contains(known, sig.KeyID) {
			return badEvent("%s: signed by key %s, which is none of its keys, old or new", p.role, shortID(sig.KeyID))
		}
		if !slices.Contains(valid, sig.KeyID) {
			return badEvent("%s: the signature by key %s does not verify: it was made for something else", p.role, shortID(sig.KeyID))
		}
	}
	return nil
}

// Sign signs the event with every key of keys that may sign it, and returns
// these. A signature by the same key is replaced. Keys of which none may sign are
// refused with ReasonNotSigner.
func (e *Event) Sign(ctx context.Context, keys Signers) ([]KeyRef, error) {
	root, targets := e.grants()
	var by []KeyRef
	if e.root != nil {
		refs, err := signGrants(ctx, keys, e.root, root)
		if err != nil {
			return nil, err
		}
		by = append(by, refs...)
	}
	if e.targets != nil {
		refs, err := signGrants(ctx, keys, e.targets, targets)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			if !slices.Contains(by, ref) {
				by = append(by, ref)
			}
		}
	}
	if len(by) == 0 {
		return nil, refuse(ReasonNotSigner, "name the folder of a key that `root show` lists as missing",
			"event: none of the keys can sign it")
	}
	return by, e.checkSignatures()
}

func signGrants[T tuf.Roles](ctx context.Context, keys Signers, md *tuf.Metadata[T], by []grant) ([]KeyRef, error) {
	var refs []KeyRef
	for _, g := range by {
		signers, err := g.available(ctx, keys)
		if err != nil {
			return nil, err
		}
		if _, err := sign(md, signers); err != nil {
			return nil, fmt.Errorf("%s: %w", g.role, err)
		}
		for _, s := range signers {
			if ref := g.keyRef(s.id); !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		}
	}
	return refs, nil
}

// MergeEvents returns an event with the signatures of all of them. They must be
// the same but for the signatures.
func MergeEvents(events ...*Event) (*Event, error) {
	if len(events) == 0 {
		return nil, badEvent("nothing to merge")
	}
	merged, err := events[0].copy()
	if err != nil {
		return nil, err
	}
	for _, other := range events[1:] {
		if other.ID() != merged.ID() {
			return nil, refuse(ReasonOtherEvent, "merge copies of one event; `root show` prints its identity",
				"the events are not the same: %s and %s", shortID(merged.ID()), shortID(other.ID()))
		}
		if merged.root != nil {
			merged.root.Signatures = mergeSignatures(merged.root.Signatures, other.root.Signatures)
		}
		if merged.targets != nil {
			merged.targets.Signatures = mergeSignatures(merged.targets.Signatures, other.targets.Signatures)
		}
	}
	return merged, merged.check()
}

// copy returns the event as its file would be read.
func (e *Event) copy() (*Event, error) {
	data, err := e.Encode()
	if err != nil {
		return nil, err
	}
	return ParseEvent(data)
}

func mergeSignatures(a, b []tuf.Signature) []tuf.Signature {
	for _, sig := range b {
		if !slices.ContainsFunc(a, func(s tuf.Signature) bool { return s.KeyID == sig.KeyID }) {
			a = append(a, sig)
		}
	}
	return a
}

// CheckTrusted reports whether the event starts from a root that the signer
// trusts, or from one that descends from it by signatures. trusted is that
// root.json, from the signer's own keeping.
func (e *Event) CheckTrusted(trusted []byte) error {
	root, err := parse[tuf.RootType](trusted)
	if err != nil {
		return invalid("trusted root: %w", err)
	}
	version := root.Signed.Version
	untrusted := func(advice, format string, args ...any) error {
		return refuse(ReasonUntrusted, advice, "event: "+format, args...)
	}
	switch {
	case e.New():
		return untrusted("leave the trusted root out for a repository that is not there yet", "it makes a new repository and starts from no root")
	case version > int64(len(e.roots)):
		return untrusted("do not sign: ask for an event that starts from what is published now",
			"it starts from root version %d, and you trust version %d: it is an old one", len(e.roots), version)
	case version < 1:
		return untrusted("", "the trusted root has version %d", version)
	}
	same, err := parse[tuf.RootType](e.roots[version-1])
	if err != nil {
		return badEvent("published root %d: %w", version, err)
	}
	if !samePayload(root, same) {
		return untrusted("do not sign: find out who made this event",
			"its root version %d is not the one that you trust: it belongs to another repository", version)
	}
	return nil
}
