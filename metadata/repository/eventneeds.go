package repository

import (
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
