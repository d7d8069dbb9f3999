package repository

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
)

// maxImportedRoles bounds what a repository made by others can make us load.
const maxImportedRoles = 1 << 14

// loadRoles loads every targets role and lists its targets, and refuses what we
// could not keep.
func (im *importer) loadRoles(ctx context.Context) error {
	st := im.edit.state
	im.roles = []liveRole{{Targets, Root}}
	seen := map[string]bool{Targets: true}
	for i := 0; i < len(im.roles); i++ {
		role, err := st.role(ctx, im.roles[i].name, im.roles[i].parent)
		if err != nil {
			return err
		}
		if err := im.checkDelegations(role); err != nil {
			return err
		}
		if err := im.listTargets(role); err != nil {
			return err
		}
		for _, child := range children(role) {
			if err := checkRole(child); err != nil {
				return err
			}
			if !seen[child] {
				seen[child] = true
				im.roles = append(im.roles, liveRole{child, role.name})
			}
		}
		if len(im.roles) > maxImportedRoles {
			return unsupported("it has more than %d roles", maxImportedRoles)
		}
	}
	return nil
}

func unsupported(format string, args ...any) error {
	return refuse(ReasonUnsupported, "change that with the tool that made the repository, then import it again", format, args...)
}

func (im *importer) checkDelegations(role *targetsRole) error {
	d := role.md.Signed.Delegations
	if d == nil {
		return nil
	}
	if s := d.SuccinctRoles; s != nil {
		if s.BitLength < 1 || s.BitLength > 14 {
			return unsupported("role %s delegates to 2^%d hash bins", role.name, s.BitLength)
		}
		if role.name == Targets {
			return unsupported("targets delegates to hash bins, beside which it cannot delegate to %s and %s", Channels, Releases)
		}
	}
	for _, r := range d.Roles {
		if r.Name == Channels || r.Name == Releases || strings.HasPrefix(r.Name, Releases+"-") || strings.HasPrefix(r.Name, channelPrefix) {
			return unsupported("it has a role %s already", r.Name)
		}
		if len(r.PathHashPrefixes) > 0 {
			im.repo.logger.Warn("delegated by path_hash_prefixes, which go-tuf compares in its own way: nodes may not find these targets", "role", r.Name)
		}
	}
	return nil
}

// listTargets adds the role's targets to those that are copied.
func (im *importer) listTargets(role *targetsRole) error {
	for _, name := range slices.Sorted(maps.Keys(role.md.Signed.Targets)) {
		t := role.md.Signed.Targets[name]
		if t == nil || t.Length < 0 {
			return invalid("target %s: no length", name)
		}
		if err := metadata.CheckTarget(name); err != nil {
			return unsupported("role %s: %w", role.name, err)
		}
		if len(t.Hashes["sha256"]) == 0 && len(t.Hashes["sha512"]) == 0 {
			return unsupported("target %s is listed without a SHA-256 or SHA-512", name)
		}
		if role.name != Targets && reserved(name) {
			return unsupported("target %s of role %s has a name that %s and %s will be responsible for", name, role.name, Channels, Releases)
		}
		im.copies = append(im.copies, copied{name, t})
		if len(t.Hashes) != 1 || t.Hashes["sha256"] == nil {
			im.edit.changed[role.name] = true // see named
		}
	}
	return nil
}

// reserved reports whether a target's name will be delegated to our roles.
func reserved(name string) bool {
	for _, paths := range []string{channelsPaths, releasesPaths} {
		r := tuf.DelegatedRole{Paths: []string{paths}}
		if ok, err := r.IsDelegatedPath(name); ok && err == nil {
			return true
		}
	}
	return false
}

// change turns the loaded state into our first version: keys, policy and
// delegations. All signers are made ready, and the root is signed, before
// anything is written.
func (im *importer) change(ctx context.Context) error {
	st, e := im.edit.state, im.edit
	root := &st.root.Signed
	root.ConsistentSnapshot = true
	e.changed[Root], e.changed[Targets] = true, true
	policy := im.policy()
	if err := policy.check(); err != nil {
		return err
	}
	for _, role := range Roles() {
		if keys, ok := im.opts.Roles[role]; ok {
			if err := replaceKeys(root, role, keys); err != nil {
				return err
			}
		}
		if err := checkDistinct(root, role); err != nil {
			return err
		}
	}
	storePolicy(root, policy)
	if err := im.delegate(policy[Targets]); err != nil {
		return err
	}
	if err := im.unlock(ctx); err != nil {
		return err
	}
	return im.signRoot(ctx)
}

// replaceKeys gives a top-level role other keys.
func replaceKeys(root *tuf.RootType, role string, keys RoleKeys) error {
	if err := keys.check(role); err != nil {
		return err
	}
	for _, id := range slices.Clone(root.Roles[role].KeyIDs) {
		if err := root.RevokeKey(id, role); err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
	}
	for _, public := range keys.Keys {
		key, _, err := tufKey(public)
		if err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
		if err := root.AddKey(key, role); err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
	}
	root.Roles[role].Threshold = keys.Threshold
	return nil
}

// checkDistinct refuses a role that knows one key under two ids: some clients
// count it twice.
func checkDistinct(root *tuf.RootType, role string) error {
	seen := make(map[string]string)
	for _, id := range root.Roles[role].KeyIDs {
		own, err := ownKeyID(root.Keys[id])
		if err != nil {
			continue // of a type that we do not use; nobody can sign with it here
		}
		if other, ok := seen[own]; ok {
			return refuse(ReasonDuplicateKey, "replace the keys of role "+role,
				"role %s lists one key under two ids, %s and %s", role, shortID(other), shortID(id))
		}
		seen[own] = id
	}
	return nil
}

// delegate makes the roles that targets delegates to. They go first: what they
// are responsible for, no older delegation is.
func (im *importer) delegate(policy RolePolicy) error {
	targets := &im.edit.state.targets().Signed
	if d := targets.Delegations; d != nil && d.Keys == nil {
		d.Keys = make(map[string]*tuf.Key)
	}
	var before int
	if targets.Delegations != nil {
		before = len(targets.Delegations.Roles)
	}
	for _, d := range []struct{ role, paths string }{{Channels, channelsPaths}, {Releases, releasesPaths}} {
		if err := delegate(targets, d.role, d.paths, im.opts.Roles[d.role], policy); err != nil {
			return err
		}
		im.edit.addRole(d.role, Targets)
	}
	roles := targets.Delegations.Roles
	targets.Delegations.Roles = slices.Concat(roles[before:], roles[:before])
	return nil
}

// unlock makes the signers of all roles but root ready.
func (im *importer) unlock(ctx context.Context) error {
	for _, r := range im.edit.follow() {
		if r.name == Root {
			continue
		}
		err := im.edit.unlockRoles(ctx, im.opts.Keys, []liveRole{r})
		var refused *RefusedError
		if errors.As(err, &refused) && refused.Reason == ReasonNotEnoughKeys && isTopLevel(r.name) {
			return refuse(ReasonNotEnoughKeys, "name the folder that holds them with --keys, or give the role new ones with --replace "+r.name, "%w", refused.Err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// signRoot signs our first root by the old root's keys and its own.
func (im *importer) signRoot(ctx context.Context) error {
	before, err := rootAuthority(&im.old.Signed, Root)
	if err != nil {
		return err
	}
	old, err := before.available(ctx, im.opts.Keys)
	if err != nil {
		return err
	}
	if len(old) < before.threshold {
		return refuse(ReasonNotEnoughKeys,
			"bring them together for this step; where they cannot be, first give the root keys that are here, in an event that each holder signs (root propose --add-key root=..., root sign, root publish), then import it",
			"the old root asks for signatures by %d of its %d root keys, and %d are here", before.threshold, len(before.ids), len(old))
	}
	root := im.edit.state.root
	after, err := rootAuthority(&root.Signed, Root)
	if err != nil {
		return err
	}
	signers, err := after.signers(ctx, im.opts.Keys)
	if err != nil {
		return err
	}
	root.Signed.Version++
	root.Signed.Expires = im.repo.clock().Add(policyOf(&root.Signed)[Root].Expiry)
	if _, err := signNew(after, root, union(signers, old)); err != nil {
		return err
	}
	im.edit.signed[Root] = true
	return im.old.VerifyDelegate(Root, root)
}

// policy returns the policy of the top-level roles.
func (im *importer) policy() Policy {
	st := im.edit.state
	root := &st.root.Signed
	p := policyOf(root)
	for role, fields := range map[string]map[string]any{
		Root: root.UnrecognizedFields, Targets: st.targets().Signed.UnrecognizedFields,
		Snapshot: root.Roles[Snapshot].UnrecognizedFields, Timestamp: root.Roles[Timestamp].UnrecognizedFields,
	} {
		if stored, ok := policyOfTUFOnCI(fields); ok && p[role] == DefaultPolicy()[role] {
			p[role] = stored
		}
	}
	maps.Copy(p, im.opts.Policy)
	return p
}

// policyOfTUFOnCI reads the policy that tuf-on-ci stores, in days.
func policyOfTUFOnCI(fields map[string]any) (RolePolicy, bool) {
	expiry, ok1 := fields["x-tuf-on-ci-expiry-period"].(float64)
	window, ok2 := fields["x-tuf-on-ci-signing-period"].(float64)
	const most = 100 * 365
	if !ok1 || !ok2 || expiry < 1 || expiry > most || window < 0 || window > most {
		return RolePolicy{}, false
	}
	p := RolePolicy{Expiry: time.Duration(expiry) * day, Window: time.Duration(window) * day}
	return p, p.check("") == nil
}
