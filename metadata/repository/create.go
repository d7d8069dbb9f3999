package repository

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
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
	Roles  map[string]RoleKeys // for each of Roles()
	Keys   Signers             // the private keys, of all roles
	Policy Policy              // nil: DefaultPolicy
}

// Create makes a signed, empty repository in dir. A folder that holds a
// published repository is refused with ReasonExists; one that a crash left
// half made, with the same keys, is completed.
func Create(ctx context.Context, dir string, opts CreateOptions) (*Repository, error) {
	root, err := newRoot(opts)
	if err != nil {
		return nil, err
	}
	r := newRepository(dir, opts.Options)
	if err := r.create(ctx, root, opts.Keys); err != nil {
		return nil, fmt.Errorf("make a repository in %s: %w", dir, err)
	}
	return r, nil
}

func (r *Repository) create(ctx context.Context, root *tuf.Metadata[tuf.RootType], keys Signers) error {
	unlock, err := r.store.Lock()
	if err != nil {
		return err
	}
	e := &Edit{
		repo:    r,
		state:   newState(root),
		policy:  policyOf(&root.Signed),
		signers: make(map[string][]signature.Signer),
		changed: map[string]bool{Root: true, Targets: true},
		unlock:  unlock,
	}
	defer e.Close()
	if err := checkUnused(r.store, root); err != nil {
		return err
	}
	_, err = e.Commit(ctx, keys)
	return err
}

// newRoot returns the unsigned root of a new repository.
func newRoot(opts CreateOptions) (*tuf.Metadata[tuf.RootType], error) {
	policy := opts.Policy
	if policy == nil {
		policy = DefaultPolicy()
	}
	if err := policy.check(); err != nil {
		return nil, err
	}
	root := tuf.Root()
	for _, role := range Roles() {
		keys := opts.Roles[role]
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

// checkUnused refuses a folder that holds a repository. What a crash left of
// the making of this very repository is no hindrance: without timestamp.json
// no client could have used it.
func checkUnused(s store, root *tuf.Metadata[tuf.RootType]) error {
	const advice = "use it as it is, or name another folder"
	for _, name := range []string{timestampFile, versionedFile(Root, 2)} {
		if found, err := exists(s, name); err != nil {
			return err
		} else if found {
			return refuse(ReasonExists, advice, "there is a %s already", name)
		}
	}
	data, err := s.Read(versionedFile(Root, 1))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if old, err := parse[tuf.RootType](data); err == nil && sameKeys(&old.Signed, &root.Signed) {
		return nil
	}
	return refuse(ReasonExists, advice, "there is a %s with other keys", versionedFile(Root, 1))
}

func sameKeys(a, b *tuf.RootType) bool {
	return maps.EqualFunc(a.Roles, b.Roles, func(a, b *tuf.Role) bool {
		return a != nil && b != nil && slices.Equal(a.KeyIDs, b.KeyIDs)
	})
}
