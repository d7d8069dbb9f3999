package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"tufboot/metadata"
)

// find returns the role that clients find a target in, and what it says of it:
// the role itself, then those that it delegates to, in their order, until a
// terminating delegation (TUF specification, section 5.6.7). Nil: not found.
func (st *state) find(ctx context.Context, target string) (*targetsRole, *tuf.TargetFiles, error) {
	s := &search{st: st, target: target, seen: make(map[string]bool)}
	role, _, err := s.visit(ctx, Targets, Root)
	if role == nil || err != nil {
		return nil, nil, err
	}
	return role, role.md.Signed.Targets[target], nil
}

type search struct {
	st     *state
	target string
	seen   map[string]bool
}

func (s *search) visit(ctx context.Context, name, parent string) (found *targetsRole, done bool, err error) {
	if s.seen[name] {
		return nil, false, nil
	}
	s.seen[name] = true
	role, err := s.st.role(ctx, name, parent)
	if err != nil {
		return nil, false, err
	}
	if role.md.Signed.Targets[s.target] != nil {
		return role, true, nil
	}
	for _, child := range delegatedTo(role, s.target) {
		found, done, err := s.visit(ctx, child.Name, name)
		if found != nil || done || err != nil {
			return found, true, err
		}
		if child.Terminating {
			return nil, true, nil
		}
	}
	return nil, false, nil
}

// home returns the role that a new target goes into: where it is already, or
// the one that it is delegated to first, at the end of the chain.
func (st *state) home(ctx context.Context, target string) (*targetsRole, error) {
	role, _, err := st.find(ctx, target)
	if role != nil || err != nil {
		return role, err
	}
	role = st.roles[Targets]
	for seen := map[string]bool{Targets: true}; ; {
		children := delegatedTo(role, target)
		if len(children) == 0 || seen[children[0].Name] {
			return role, nil
		}
		seen[children[0].Name] = true
		if role, err = st.role(ctx, children[0].Name, role.name); err != nil {
			return nil, err
		}
	}
}

func delegatedTo(role *targetsRole, target string) []tuf.RoleResult {
	d := role.md.Signed.Delegations
	if d == nil {
		return nil
	}
	return d.GetRolesForTarget(target)
}

// children returns the names of the roles that a role delegates to.
func children(role *targetsRole) []string {
	d := role.md.Signed.Delegations
	if d == nil {
		return nil
	}
	if d.SuccinctRoles != nil && d.Roles == nil {
		return d.SuccinctRoles.GetRoles()
	}
	names := make([]string, len(d.Roles))
	for i, r := range d.Roles {
		names[i] = r.Name
	}
	return names
}

// liveRole is a targets role that clients can reach.
type liveRole struct{ name, parent string }

// live returns targets and every role that it leads to, parents first. Bins do
// not delegate further and are not loaded for this.
func (st *state) live(ctx context.Context) ([]liveRole, error) {
	roles := []liveRole{{Targets, Root}}
	seen := map[string]bool{Targets: true}
	for i := 0; i < len(roles); i++ {
		if roles[i].parent != Root && st.isBin(roles[i]) {
			continue
		}
		role, err := st.role(ctx, roles[i].name, roles[i].parent)
		if st.bundle != nil && errors.Is(err, fs.ErrNotExist) {
			roles = slices.Delete(roles, i, i+1)
			i--
			continue
		} else if err != nil {
			return nil, err
		}
		for _, child := range children(role) {
			if !seen[child] {
				seen[child] = true
				roles = append(roles, liveRole{child, role.name})
			}
		}
	}
	return roles, nil
}

// prefetch loads the bins that targets are in, several at a time.
func (st *state) prefetch(ctx context.Context, targets []string) error {
	releases := st.roles[Releases]
	if releases == nil {
		return nil
	}
	loaded := make([]*targetsRole, len(targets))
	var group errgroup.Group
	for i, target := range targets {
		for _, bin := range delegatedTo(releases, target) {
			if st.roles[bin.Name] == nil {
				group.Go(func() (err error) {
					loaded[i], err = st.loadRole(ctx, bin.Name, Releases)
					return err
				})
			}
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, bin := range loaded {
		if bin != nil && st.roles[bin.name] == nil {
			st.roles[bin.name] = bin
		}
	}
	return nil
}

// isBin reports whether a role is one of the bins of its parent.
func (st *state) isBin(r liveRole) bool {
	d := st.roles[r.parent].md.Signed.Delegations
	return d != nil && d.Roles == nil && d.SuccinctRoles != nil
}

// entry is a target and the role that vouches for it.
type entry struct {
	metadata.Artifact
	role string
}

// all returns every target that clients can find, ordered by name.
func (st *state) all(ctx context.Context) ([]entry, error) {
	roles, err := st.live(ctx)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, r := range roles {
		role, err := st.role(ctx, r.name, r.parent)
		if err != nil {
			return nil, err
		}
		for name := range role.md.Signed.Targets {
			// A name outside what is delegated to the role, or one that an
			// earlier role has, is nothing that a client would find here.
			found, t, err := st.find(ctx, name)
			if err != nil {
				return nil, err
			}
			if found == role {
				entries = append(entries, entry{artifact(name, t), r.name})
			}
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Target, b.Target) })
	return entries, nil
}

func artifact(name string, t *tuf.TargetFiles) metadata.Artifact {
	return metadata.Artifact{Target: name, Length: t.Length, SHA256: sumOf(t)}
}

// target returns a target's length and hash, if the repository has it.
func (st *state) target(ctx context.Context, name string) (metadata.Artifact, bool, error) {
	_, t, err := st.find(ctx, name)
	if t == nil || err != nil {
		return metadata.Artifact{}, false, err
	}
	return artifact(name, t), true, nil
}

// readTarget returns the bytes of a small target (a manifest or channel file).
// Errors wrap ErrNotFound if the repository has no such target.
func (st *state) readTarget(ctx context.Context, name string) ([]byte, error) {
	return st.readUpTo(ctx, name, metadata.MaxManifestSize)
}

// readUpTo is readTarget for a target of at most limit bytes.
func (st *state) readUpTo(ctx context.Context, name string, limit int64) ([]byte, error) {
	_, t, err := st.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, fmt.Errorf("target %s: %w", name, ErrNotFound)
	}
	if t.Length > limit {
		return nil, invalid("target %s has %d bytes", name, t.Length)
	}
	data, _, err := readPublished(ctx, st.from, targetFile(name, sumOf(t)), limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, invalid("target %s is missing: %w", name, err)
	} else if err != nil {
		return nil, fmt.Errorf("target %s: %w", name, err)
	}
	if err := t.VerifyLengthHashes(data); err != nil {
		return nil, invalid("target %s: %w", name, err)
	}
	return data, nil
}
