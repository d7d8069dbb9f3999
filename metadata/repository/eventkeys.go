package repository

import (
	"context"
	"errors"
)

// RoleAuthority says who may sign a role.
type RoleAuthority struct {
	Role      string    `json:"role"`
	Threshold int       `json:"threshold"`
	Keys      []RoleKey `json:"keys"`
}

// RoleKey is a key of a role.
type RoleKey struct {
	KeyRef
	// Listed is the id under which the metadata lists the key, if it is another
	// one: the repository was made by another tool.
	Listed string `json:"listed,omitempty"`
}

// Authorities returns who may sign each role, of the top-level ones and of those
// that targets delegates to, in the order of delegation.
func (r *Repository) Authorities(ctx context.Context) ([]RoleAuthority, error) {
	st, err := load(ctx, r.store)
	if err != nil {
		return nil, err
	}
	roles := []liveRole{{Root, Root}, {Targets, Root}, {Snapshot, Root}, {Timestamp, Root}}
	for _, name := range children(st.roles[Targets]) {
		if child := (liveRole{name, Targets}); !st.isBin(child) {
			roles = append(roles, child)
		}
	}
	var list []RoleAuthority
	for _, role := range roles {
		a, err := st.authority(role.name, role.parent)
		if err != nil {
			return nil, err
		}
		entry := RoleAuthority{Role: role.name, Threshold: a.threshold, Keys: []RoleKey{}}
		for _, id := range a.ids {
			key := RoleKey{KeyRef: a.keyRef(id)}
			if key.ID != id {
				key.Listed = id
			}
			entry.Keys = append(entry.Keys, key)
		}
		list = append(list, entry)
	}
	return list, nil
}

// KeysChanged is what ChangeKeys did.
type KeysChanged struct {
	Changes   *Changes        `json:"changes"`
	Published *EventPublished `json:"published"`
}

// ChangeKeys proposes, signs and publishes an event in one step, where all the
// private keys that it needs are at hand. Where they are not it is refused with
// ReasonNotEnoughKeys, and nothing has changed.
func (r *Repository) ChangeKeys(ctx context.Context, opts ProposeOptions, keys Signers) (*KeysChanged, error) {
	e, err := r.Propose(ctx, opts)
	if err != nil {
		return nil, err
	}
	const advice = "give the folders of all keys that must sign with --keys; where their holders sign apart, use `root propose`"
	var refused *RefusedError
	if _, err := e.Sign(ctx, keys); errors.As(err, &refused) && refused.Reason == ReasonNotSigner {
		return nil, refuse(ReasonNotEnoughKeys, advice, "none of the keys that must sign is here")
	} else if err != nil {
		return nil, err
	}
	for _, n := range e.Needs() {
		if n.Required && !n.Met() {
			return nil, refuse(ReasonNotEnoughKeys, advice, "the new %s needs signatures by %d of its %s, and %d are here",
				n.Metadata, n.Threshold, keysPhrase(n), len(n.Signed))
		}
	}
	changed := &KeysChanged{Changes: e.Changes()}
	changed.Published, err = r.PublishEvent(ctx, e, keys)
	return changed, err
}
