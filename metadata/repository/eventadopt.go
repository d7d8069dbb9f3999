package repository

import (
	"context"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"tufboot/metadata"
)

// adoptTargets takes on targets that were signed elsewhere, and brings the
// delegated roles in line: what no longer verifies is marked to be signed again,
// and a target goes where it is now delegated to.
func (e *Edit) adoptTargets(ctx context.Context, targets *tuf.Metadata[tuf.TargetsType]) error {
	adopted, err := e.signedBefore(ctx, targets)
	if err != nil {
		return err
	}
	before := e.state.targets()
	// What the old delegations lead to is loaded, and so verified, under them.
	kept, err := e.keptRoles(ctx, before, adopted)
	if err != nil {
		return err
	}
	moves, err := e.moves(ctx, before, adopted)
	if err != nil {
		return err
	}
	e.state.roles[Targets] = &targetsRole{Targets, Root, adopted}
	e.changed[Targets], e.signed[Targets] = true, true
	for _, name := range created(before, adopted) {
		e.addRole(name, Targets)
	}
	for _, k := range kept {
		if err := e.keepRole(k, adopted); err != nil {
			return err
		}
	}
	for _, m := range moves {
		if err := e.move(ctx, m); err != nil {
			return err
		}
	}
	for _, name := range created(adopted, before) { // those that are gone
		delete(e.state.roles, name)
		delete(e.changed, name)
	}
	return nil
}

// created returns the roles that after delegates to and before does not.
func created(before, after *tuf.Metadata[tuf.TargetsType]) []string {
	var names []string
	if d := after.Signed.Delegations; d != nil {
		for _, r := range d.Roles {
			if delegatedAuthority(before, r.Name) == nil {
				names = append(names, r.Name)
			}
		}
	}
	return names
}

// keptRole is a delegated role that stays, and its bins, if their keys change.
type keptRole struct {
	*targetsRole
	bins *authority // nil, or who may sign the bins from now on
}

func (e *Edit) keptRoles(ctx context.Context, before, after *tuf.Metadata[tuf.TargetsType]) ([]keptRole, error) {
	var kept []keptRole
	if before.Signed.Delegations == nil {
		return nil, nil
	}
	for _, r := range before.Signed.Delegations.Roles {
		role, err := e.state.role(ctx, r.Name, Targets)
		if err != nil {
			return nil, err
		}
		now := delegatedAuthority(after, r.Name)
		if now == nil {
			continue
		}
		k := keptRole{targetsRole: role}
		d := role.md.Signed.Delegations
		if r.Name == Releases && d != nil && d.Roles == nil && d.SuccinctRoles != nil {
			old := authority{r.Name, d.SuccinctRoles.KeyIDs, d.SuccinctRoles.Threshold, d.Keys}
			if !now.same(old) {
				k.bins = now
			}
			if !now.covers(old) {
				if err := e.state.loadRoles(ctx, children(role), r.Name); err != nil {
					return nil, err
				}
			}
		}
		kept = append(kept, k)
	}
	return kept, nil
}

// loadRoles loads roles that the same one delegates to, several at a time.
func (st *state) loadRoles(ctx context.Context, names []string, parent string) error {
	loaded := make([]*targetsRole, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, name := range names {
		if st.roles[name] == nil {
			group.Go(func() (err error) {
				loaded[i], err = st.loadRole(ctx, name, parent)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, role := range loaded {
		if role != nil {
			st.roles[role.name] = role
		}
	}
	return nil
}

// keepRole marks a role, and its bins, to be signed again where they no longer
// verify. Bins have the keys of their role.
func (e *Edit) keepRole(k keptRole, targets *tuf.Metadata[tuf.TargetsType]) error {
	if targets.VerifyDelegate(k.name, k.md) != nil {
		e.changed[k.name] = true
	}
	if k.bins == nil {
		return nil
	}
	k.md.Signed.Delegations = binDelegations(*k.bins, k.md.Signed.Delegations.SuccinctRoles.BitLength)
	e.changed[k.name] = true
	for _, name := range children(k.targetsRole) {
		if bin := e.state.roles[name]; bin != nil && k.md.VerifyDelegate(name, bin.md) != nil {
			e.changed[name] = true
		}
	}
	return nil
}

// move is a target that another role than before is responsible for.
type move struct {
	target string
	file   *tuf.TargetFiles
	from   *targetsRole
}

// moves returns the targets that go into roles that are made, or come out of
// roles that are removed.
func (e *Edit) moves(ctx context.Context, before, after *tuf.Metadata[tuf.TargetsType]) ([]move, error) {
	var names []string
	for _, r := range append(created(before, after), created(after, before)...) {
		if channel, own := channelOf(r); own {
			names = append(names, metadata.ChannelTarget(channel))
		}
	}
	for name := range before.Signed.Targets {
		if after.Signed.Targets[name] == nil && delegatedToOneOf(after, name, created(before, after)) {
			names = append(names, name)
		}
	}
	var moves []move
	for _, name := range names {
		from, file, err := e.state.find(ctx, name)
		if err != nil {
			return nil, err
		}
		if file != nil {
			moves = append(moves, move{name, file, from})
		}
	}
	return moves, nil
}

func delegatedToOneOf(targets *tuf.Metadata[tuf.TargetsType], name string, roles []string) bool {
	if len(roles) == 0 {
		return false
	}
	for _, r := range targets.Signed.Delegations.GetRolesForTarget(name) {
		for _, role := range roles {
			if r.Name == role {
				return true
			}
		}
	}
	return false
}

// move puts a target into the role that is responsible for it now, and takes it
// out of the one that was: should that become responsible again, clients would
// see what it pointed to long ago.
func (e *Edit) move(ctx context.Context, m move) error {
	if m.from.name != Targets {
		delete(m.from.md.Signed.Targets, m.target)
		e.changed[m.from.name] = true
	}
	home, err := e.state.home(ctx, m.target)
	if err != nil {
		return err
	}
	if home.name == Targets {
		return conflict("nobody would vouch for target %s", m.target)
	}
	home.md.Signed.Targets[m.target] = m.file
	e.changed[home.name] = true
	return nil
}
