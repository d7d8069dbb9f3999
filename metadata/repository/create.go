package repository

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/storage"
)

// RoleKeys are the public keys of a role and how many of them must sign.
type RoleKeys struct {
	Keys      []crypto.PublicKey
	Threshold int
}

func (k RoleKeys) check(role string) error {
	if k.Threshold < 1 || k.Threshold > len(k.Keys) {
		return refuse(ReasonThreshold, "use a threshold from 1 to the number of keys",
			"role %s: threshold %d with %d keys", role, k.Threshold, len(k.Keys))
	}
	var ids []string
	for _, public := range k.Keys {
		id, err := KeyID(public)
		if err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
		if slices.Contains(ids, id) {
			return refuse(ReasonDuplicateKey, "give each signer a key of its own",
				"role %s: key %s is there twice", role, shortID(id))
		}
		ids = append(ids, id)
	}
	return nil
}

// CreateOptions describe a new repository.
type CreateOptions struct {
	Options
	// Roles are the keys of each of Roles(). With keys for Releases and Channels
	// targets delegates to these, so that its own keys can stay offline; without,
	// it lists everything itself.
	Roles  map[string]RoleKeys
	Keys   Signers // the private keys, of all roles
	Policy Policy  // nil: DefaultPolicy; may name delegated roles too
}

// Create makes a signed, empty repository in a store. One that holds a
// published repository is refused with ReasonExists; one that a crash left
// half made, with the same keys, is completed.
func Create(ctx context.Context, store storage.Store, opts CreateOptions) (*Repository, error) {
	st, err := newState(store, opts)
	if err != nil {
		return nil, err
	}
	r := newRepository(store, opts.Options)
	if err := r.create(ctx, st, opts.Keys); err != nil {
		return nil, fmt.Errorf("make a repository in %s: %w", store, err)
	}
	return r, nil
}

func (r *Repository) create(ctx context.Context, st *state, keys Signers) error {
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	e := r.newEdit(st, unlock)
	defer e.Close()
	e.changed[Root] = true
	for name := range st.roles {
		e.changed[name] = true
	}
	if err := checkUnused(ctx, r.store, st.root); err != nil {
		return err
	}
	_, err = e.Commit(ctx, keys)
	return err
}

// newState returns a new repository before its first version is signed.
func newState(from storage.Reader, opts CreateOptions) (*state, error) {
	policy := DefaultPolicy()
	maps.Copy(policy, opts.Policy)
	if err := policy.check(); err != nil {
		return nil, err
	}
	root, err := newRoot(opts.Roles, policy)
	if err != nil {
		return nil, err
	}
	st := &state{from: from, root: root, snapshot: tuf.Snapshot(), timestamp: tuf.Timestamp(), roles: make(map[string]*targetsRole)}
	st.root.Signed.Version = 0
	st.snapshot.Signed.Version = 0
	st.timestamp.Signed.Version = 0
	targets := tuf.Targets()
	targets.Signed.Version = 0
	st.roles[Targets] = &targetsRole{Targets, Root, targets}
	for _, d := range []struct{ role, paths string }{{Channels, channelsPaths}, {Releases, releasesPaths}} {
		keys, ok := opts.Roles[d.role]
		if !ok {
			continue
		}
		rolePolicy, ok := policy[d.role]
		if !ok {
			rolePolicy = policy[Targets]
		}
		if err := delegate(&targets.Signed, d.role, d.paths, keys, rolePolicy); err != nil {
			return nil, err
		}
		md := tuf.Targets()
		md.Signed.Version = 0
		st.roles[d.role] = &targetsRole{d.role, Targets, md}
	}
	return st, nil
}

// newRoot returns the unsigned root of a new repository.
func newRoot(roles map[string]RoleKeys, policy Policy) (*tuf.Metadata[tuf.RootType], error) {
	root := tuf.Root()
	for _, role := range Roles() {
		keys := roles[role]
		if err := keys.check(role); err != nil {
			return nil, err
		}
		for _, public := range keys.Keys {
			key, _, err := tufKey(public)
			if err != nil {
				return nil, fmt.Errorf("role %s: %w", role, err)
			}
			if err := root.Signed.AddKey(key, role); err != nil {
				return nil, fmt.Errorf("role %s: %w", role, err)
			}
		}
		root.Signed.Roles[role].Threshold = keys.Threshold
	}
	storePolicy(&root.Signed, policy)
	return root, nil
}

// delegate adds a terminating delegation at the end of the list. Terminating:
// what a role is responsible for, no other role is.
func delegate(targets *tuf.TargetsType, role, paths string, keys RoleKeys, policy RolePolicy) error {
	if err := keys.check(role); err != nil {
		return err
	}
	if err := policy.check(role); err != nil {
		return err
	}
	if targets.Delegations == nil {
		targets.Delegations = &tuf.Delegations{Keys: make(map[string]*tuf.Key)}
	}
	entry := tuf.DelegatedRole{
		Name: role, KeyIDs: []string{}, Threshold: keys.Threshold, Terminating: true,
		Paths: []string{paths}, UnrecognizedFields: policy.store(nil),
	}
	for _, public := range keys.Keys {
		key, id, err := tufKey(public)
		if err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
		targets.Delegations.Keys[id] = key
		entry.KeyIDs = append(entry.KeyIDs, id)
	}
	targets.Delegations.Roles = append(targets.Delegations.Roles, entry)
	return nil
}

// checkUnused refuses a folder that holds a repository. What a crash left of
// the making of this very repository is no hindrance: without timestamp.json
// no client could have used it.
func checkUnused(ctx context.Context, s storage.Store, root *tuf.Metadata[tuf.RootType]) error {
	const advice = "use it as it is, or name another folder"
	for _, name := range []string{timestampFile, versionedFile(Root, 2)} {
		if _, err := s.Stat(ctx, name); err == nil {
			return refuse(ReasonExists, advice, "there is a %s already", name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	data, _, err := storage.ReadFile(ctx, s, versionedFile(Root, 1), maxMetadata)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if old, err := parse[tuf.RootType](data); err == nil && sameKeys(&old.Signed, &root.Signed) {
		// The order of a commit writes the root after all but the timestamp: what
		// the crash left is signed by the same keys, for the same content.
		return s.Remove(ctx, versionedFile(Root, 1))
	}
	return refuse(ReasonExists, advice, "there is a %s with other keys", versionedFile(Root, 1))
}

func sameKeys(a, b *tuf.RootType) bool {
	return maps.EqualFunc(a.Roles, b.Roles, func(a, b *tuf.Role) bool {
		return a != nil && b != nil && slices.Equal(a.KeyIDs, b.KeyIDs)
	})
}
