package repository

import (
	"crypto"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
)

// RoleEdit says what to change about a role. The zero value changes nothing.
type RoleEdit struct {
	Add       []crypto.PublicKey
	Remove    []string // key ids, or their beginnings, each of one key of the role
	Threshold int      // 0: as it is
	// Expiry and Window are the role's policy; 0: as it is.
	Expiry, Window time.Duration
	// Gone takes a channel's own role away: the role Channels signs the channel
	// again.
	Gone bool
}

// entryEdit is a role's entry in root.json or in a delegation, being changed.
type entryEdit struct {
	role      string
	ids       []string
	threshold int
	fields    map[string]any // unrecognized ones, where the policy is
	keys      map[string]*tuf.Key
}

// apply makes the changes. Whether the result is allowed is for Event.check to
// say, which looks at every event.
func (t *entryEdit) apply(edit RoleEdit, policy RolePolicy) error {
	for _, prefix := range edit.Remove {
		if err := t.remove(prefix); err != nil {
			return err
		}
	}
	for _, public := range edit.Add {
		if err := t.add(public); err != nil {
			return err
		}
	}
	if edit.Threshold != 0 {
		t.threshold = edit.Threshold
	}
	if edit.Expiry == 0 && edit.Window == 0 {
		return nil
	}
	if edit.Expiry != 0 {
		policy.Expiry = edit.Expiry
	}
	if edit.Window != 0 {
		policy.Window = edit.Window
	}
	if err := policy.check(t.role); err != nil {
		return err
	}
	t.fields = policy.store(t.fields)
	return nil
}

func (t *entryEdit) add(public crypto.PublicKey) error {
	key, id, err := tufKey(public)
	if err != nil {
		return fmt.Errorf("role %s: %w", t.role, err)
	}
	for _, other := range t.ids {
		if own, err := ownKeyID(t.keys[other]); err == nil && own == id {
			return refuse(ReasonDuplicateKey, "give each signer a key of its own",
				"role %s has key %s already", t.role, shortID(id))
		}
	}
	t.ids = append(slices.Clone(t.ids), id)
	t.keys[id] = key
	return nil
}

func (t *entryEdit) remove(prefix string) error {
	const least = 4 // digits; fewer were typed by mistake
	var found []string
	for _, id := range t.ids {
		own, err := ownKeyID(t.keys[id])
		if len(prefix) >= least && (strings.HasPrefix(id, prefix) || err == nil && strings.HasPrefix(own, prefix)) {
			found = append(found, id)
		}
	}
	if len(found) != 1 {
		return refuse(ReasonNoSuchKey, "key list shows the keys of each role; give as much of the id as tells them apart, at least 4 digits",
			"role %s has %d keys whose id starts with %q", t.role, len(found), prefix)
	}
	t.ids = slices.DeleteFunc(slices.Clone(t.ids), func(id string) bool { return id == found[0] })
	return nil
}

// editRoot makes the changes to the top-level roles.
func editRoot(root *tuf.RootType, edits map[string]RoleEdit) error {
	before := usedKeys(rootLists(root))
	for _, role := range Roles() {
		edit, ok := edits[role]
		if !ok {
			continue
		}
		r := root.Roles[role]
		if edit.Gone {
			return refuse(ReasonNoSuchRole, "", "role %s cannot be removed", role)
		}
		t := entryEdit{role, r.KeyIDs, r.Threshold, r.UnrecognizedFields, root.Keys}
		if err := t.apply(edit, policyOf(root)[role]); err != nil {
			return err
		}
		r.KeyIDs, r.Threshold, r.UnrecognizedFields = t.ids, t.threshold, t.fields
	}
	dropUnused(root.Keys, before, usedKeys(rootLists(root)))
	return nil
}

func rootLists(root *tuf.RootType) (lists [][]string) {
	for _, r := range root.Roles {
		lists = append(lists, r.KeyIDs)
	}
	return lists
}

func delegationLists(d *tuf.Delegations) (lists [][]string) {
	for _, r := range d.Roles {
		lists = append(lists, r.KeyIDs)
	}
	return lists
}

func usedKeys(lists [][]string) map[string]bool {
	used := make(map[string]bool)
	for _, ids := range lists {
		for _, id := range ids {
			used[id] = true
		}
	}
	return used
}

// dropUnused removes keys that were used and are no longer. A key that no role
// used before is somebody else's business.
func dropUnused(keys map[string]*tuf.Key, before, after map[string]bool) {
	maps.DeleteFunc(keys, func(id string, _ *tuf.Key) bool { return before[id] && !after[id] })
}

// editDelegations makes the changes to the roles that targets delegates to.
// inherited is the policy of a role that has none.
func editDelegations(targets *tuf.TargetsType, edits map[string]RoleEdit, inherited RolePolicy) error {
	if targets.Delegations == nil {
		targets.Delegations = &tuf.Delegations{Keys: make(map[string]*tuf.Key)}
	}
	d := targets.Delegations
	if d.SuccinctRoles != nil && d.Roles == nil {
		return refuse(ReasonNoSuchRole, "", "targets delegates to hash bins, and not by name")
	}
	before := usedKeys(delegationLists(d))
	names := slices.Sorted(maps.Keys(edits))
	// A channel's own role needs Channels to go back to, and goes before it.
	slices.SortStableFunc(names, func(a, b string) int { return newRoleRank(a) - newRoleRank(b) })
	for _, name := range names {
		if err := editDelegation(targets, name, edits[name], inherited); err != nil {
			return err
		}
	}
	dropUnused(d.Keys, before, usedKeys(delegationLists(d)))
	return nil
}

func newRoleRank(name string) int {
	switch name {
	case Releases, Channels:
		return 0
	}
	return 1
}

func editDelegation(targets *tuf.TargetsType, name string, edit RoleEdit, inherited RolePolicy) error {
	d := targets.Delegations
	at := slices.IndexFunc(d.Roles, func(r tuf.DelegatedRole) bool { return r.Name == name })
	if edit.Gone {
		return removeDelegation(d, name, at)
	}
	if at < 0 {
		var err error
		if at, err = addDelegation(targets, name, edit, inherited); err != nil {
			return err
		}
	}
	r := &d.Roles[at]
	policy, ok := policyFrom(r.UnrecognizedFields)
	if !ok {
		policy = inherited
	}
	t := entryEdit{name, r.KeyIDs, r.Threshold, r.UnrecognizedFields, d.Keys}
	if err := t.apply(edit, policy); err != nil {
		return err
	}
	r.KeyIDs, r.Threshold, r.UnrecognizedFields = t.ids, t.threshold, t.fields
	return nil
}

// addDelegation adds a role without keys and returns its place in the list. The
// targets that it is to vouch for are taken out of targets: the publication puts
// them where they belong.
func addDelegation(targets *tuf.TargetsType, name string, edit RoleEdit, inherited RolePolicy) (int, error) {
	paths, err := newRolePaths(name)
	if err != nil {
		return 0, err
	}
	if len(edit.Add) > 1 && edit.Threshold == 0 {
		return 0, refuse(ReasonThreshold, "say how many of them must sign with --threshold "+name+"=N",
			"new role %s with %d keys and no threshold", name, len(edit.Add))
	}
	d := targets.Delegations
	at := 0
	if newRoleRank(name) == 0 { // behind all channels' own roles
		for i, r := range d.Roles {
			if _, own := channelOf(r.Name); own || newRoleRank(r.Name) == 0 {
				at = i + 1
			}
		}
	}
	role := tuf.DelegatedRole{
		Name: name, KeyIDs: []string{}, Threshold: 1, Terminating: true,
		Paths: []string{paths}, UnrecognizedFields: inherited.store(nil),
	}
	d.Roles = slices.Insert(d.Roles, at, role)
	for target := range targets.Targets {
		if ok, err := role.IsDelegatedPath(target); err == nil && ok {
			delete(targets.Targets, target)
		}
	}
	return at, nil
}

// newRolePaths returns what a role that can be made vouches for.
func newRolePaths(name string) (string, error) {
	switch name {
	case Releases:
		return releasesPaths, nil
	case Channels:
		return channelsPaths, nil
	}
	if channel, ok := channelOf(name); ok && metadata.CheckChannel(channel) == nil {
		return metadata.ChannelTarget(channel), nil
	}
	return "", refuse(ReasonNoSuchRole, "roles that can be made are channels, releases, and channel-NAME for a channel with keys of its own",
		"there is no role %q", name)
}

// channelOf returns the channel that a role is of, if it is a channel's own.
func channelOf(role string) (string, bool) { return strings.CutPrefix(role, channelPrefix) }

func removeDelegation(d *tuf.Delegations, name string, at int) error {
	if _, own := channelOf(name); !own || at < 0 {
		return refuse(ReasonNoSuchRole, "only a channel's own role, channel-NAME, can be removed", "role %q cannot be removed, or is not there", name)
	}
	if !slices.ContainsFunc(d.Roles, func(r tuf.DelegatedRole) bool { return r.Name == Channels }) {
		return refuse(ReasonNoSuchRole, "make the role channels first", "without role %s nobody could sign channels: there is no role channels", name)
	}
	d.Roles = slices.Delete(slices.Clone(d.Roles), at, at+1)
	return nil
}
