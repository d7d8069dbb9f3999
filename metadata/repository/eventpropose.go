package repository

import (
	"context"
	"fmt"
	"maps"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/storage"
)

// ProposeOptions say what an event is to change, by role: the top-level roles
// and those that targets delegates to. A role channel-NAME that is not there is
// made. With no role at all, root and targets are renewed: a new version and
// expiry.
type ProposeOptions struct {
	Roles map[string]RoleEdit
}

// split sorts the edits by the metadata that holds the roles.
func (o ProposeOptions) split() (root, targets map[string]RoleEdit) {
	root, targets = make(map[string]RoleEdit), make(map[string]RoleEdit)
	for name, edit := range o.Roles {
		if isTopLevel(name) {
			root[name] = edit
		} else {
			targets[name] = edit
		}
	}
	return root, targets
}

// Propose returns an event with the changes to what is published, unsigned. It
// needs no keys and writes nothing. Changes that clients could not follow, or
// that nobody could sign afterwards, are refused with the reason.
func (r *Repository) Propose(ctx context.Context, opts ProposeOptions) (*Event, error) {
	st, err := load(ctx, r.store)
	if err != nil {
		return nil, err
	}
	e, err := startEvent(ctx, r.store, st)
	if err != nil {
		return nil, err
	}
	inRoot, inTargets := opts.split()
	renew := len(opts.Roles) == 0
	if len(inRoot) > 0 || renew {
		if err := e.proposeRoot(inRoot, r.clock()); err != nil {
			return nil, err
		}
	}
	// Targets that the new keys of targets have not signed would be refused.
	stale := e.authorityRoot().VerifyDelegate(Targets, st.targets()) != nil
	if len(inTargets) > 0 || renew || stale {
		if err := e.proposeTargets(ctx, st, inTargets, r.clock()); err != nil {
			return nil, err
		}
	}
	return e.copy()
}

// startEvent returns an event that starts from what is published and proposes
// nothing yet.
func startEvent(ctx context.Context, from storage.Reader, st *state) (*Event, error) {
	e := &Event{baseRoot: st.root}
	for version := int64(1); version <= st.root.Signed.Version; version++ {
		data, err := readMetadata(ctx, from, versionedFile(Root, version))
		if err != nil {
			return nil, err
		}
		e.roots = append(e.roots, data)
	}
	return e, nil
}

func (e *Event) proposeRoot(edits map[string]RoleEdit, now time.Time) error {
	root, err := clone(e.baseRoot)
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := editRoot(&root.Signed, edits); err != nil {
		return err
	}
	root.Signed.Version++
	root.Signed.Expires = now.Add(policyOf(&root.Signed)[Root].Expiry)
	e.root = root
	return nil
}

func (e *Event) proposeTargets(ctx context.Context, st *state, edits map[string]RoleEdit, now time.Time) error {
	named := st.snapshot.Signed.Meta[metaName(Targets)]
	data, err := readMetadata(ctx, st.from, versionedFile(Targets, named.Version))
	if err != nil {
		return err
	}
	targets, err := clone(st.targets())
	if err != nil {
		return fmt.Errorf("targets: %w", err)
	}
	policy := policyOf(&e.authorityRoot().Signed)[Targets]
	if len(edits) > 0 {
		if err := editDelegations(&targets.Signed, edits, policy); err != nil {
			return err
		}
	}
	if targets.Signed.Version, err = freeVersion(ctx, st.from, Targets, targets.Signed.Version); err != nil {
		return err
	}
	targets.Signed.Expires = now.Add(policy.Expiry)
	e.targets, e.baseTargets, e.baseData = targets, st.targets(), data
	return nil
}

// ProposeNew returns an event that makes a repository: version 1 of root and
// targets, with the keys of each of Roles() and of Channels and Releases, which
// targets delegates to. A role's threshold is 1 unless it is given; with more
// than one key it must be. now is the clock.
func ProposeNew(opts ProposeOptions, now time.Time) (*Event, error) {
	now = now.UTC().Truncate(time.Second)
	inRoot, inTargets := opts.split()
	root := tuf.Root()
	storePolicy(&root.Signed, DefaultPolicy())
	for _, role := range Roles() {
		edit := inRoot[role]
		if len(edit.Add) == 0 || len(edit.Add) > 1 && edit.Threshold == 0 {
			return nil, refuse(ReasonThreshold, "give every role its keys, and say how many must sign where there are several",
				"new repository: role %s has %d keys and no threshold", role, len(edit.Add))
		}
	}
	if err := editRoot(&root.Signed, inRoot); err != nil {
		return nil, err
	}
	policy := policyOf(&root.Signed)
	root.Signed.Expires = now.Add(policy[Root].Expiry)
	targets := tuf.Targets()
	for _, role := range []string{Channels, Releases} {
		if len(inTargets[role].Add) == 0 {
			return nil, refuse(ReasonThreshold, "give every role its keys; publish stands for channels and releases", "new repository: role %s has no keys", role)
		}
	}
	if err := editDelegations(&targets.Signed, maps.Clone(inTargets), policy[Targets]); err != nil {
		return nil, err
	}
	targets.Signed.Expires = now.Add(policy[Targets].Expiry)
	return (&Event{root: root, targets: targets}).copy()
}
