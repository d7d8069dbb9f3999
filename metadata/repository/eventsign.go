package repository

import (
	"context"
	"fmt"
	"slices"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

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
