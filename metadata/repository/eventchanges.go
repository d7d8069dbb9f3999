package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// Changes says all that an event changes: computed from the metadata in it and
// from what it starts from. What has no place of its own is in Other, so that
// nothing changes unseen.
type Changes struct {
	Event string    `json:"event"` // its identity; see Event.ID
	Base  *EventRef `json:"base"`  // nil: it makes a new repository
	// Root and Targets are what becomes of these, nil if they stay.
	Root       *MetadataChange `json:"root,omitempty"`
	Targets    *MetadataChange `json:"targets,omitempty"`
	Signatures []SignatureNeed `json:"signatures"`
}

// EventRef names the published metadata that an event starts from.
type EventRef struct {
	RootVersion    int64  `json:"root_version"`
	RootSHA256     string `json:"root_sha256"` // of the file, in hex
	TargetsVersion int64  `json:"targets_version,omitempty"`
	TargetsSHA256  string `json:"targets_sha256,omitempty"`
}

// FromTo is a value before and after. Before a new repository, and after what
// is removed, it is the zero value.
type FromTo[T any] struct {
	From T `json:"from"`
	To   T `json:"to"`
}

// MetadataChange is what changes in one piece of metadata.
type MetadataChange struct {
	Version FromTo[int64] `json:"version"`
	// Skipped is how many numbers lie between the two versions. Unfinished
	// publications use numbers up; but if these were published, the event
	// would undo them.
	Skipped   int64              `json:"skipped,omitempty"`
	Expires   FromTo[*time.Time] `json:"expires"`
	Roles     []RoleChange       `json:"roles"` // the roles that it delegates to, if they change
	Unchanged []UnchangedRole    `json:"unchanged"`
	// Order is that in which targets delegates, nil if it stays: the first
	// role that vouches for a target is believed.
	Order *FromTo[[]string] `json:"order,omitempty"`
	// Other is everything else that differs.
	Other []Difference `json:"other"`
}

// UnchangedRole says who may sign a role that stays as it is: a signer who
// expects other keys there sees that the event starts from an older state.
type UnchangedRole struct {
	Role      string   `json:"role"`
	Threshold int      `json:"threshold"`
	Keys      []KeyRef `json:"keys"`
}

// RoleChange is what changes about who may sign a role, and what for.
type RoleChange struct {
	Role      string            `json:"role"`
	New       bool              `json:"new,omitempty"`
	Gone      bool              `json:"gone,omitempty"`
	Threshold FromTo[int]       `json:"threshold"`
	Keys      FromTo[int]       `json:"keys"` // how many
	Added     []KeyRef          `json:"added"`
	Removed   []KeyRef          `json:"removed"`
	Expiry    *FromTo[int64]    `json:"expiry_seconds,omitempty"`
	Window    *FromTo[int64]    `json:"window_seconds,omitempty"`
	Paths     *FromTo[[]string] `json:"paths,omitempty"`
	// Terminating says that no later role is asked for these paths.
	Terminating *FromTo[bool] `json:"terminating,omitempty"`
}

// Difference is a field that differs: where it is, and its JSON; "" is nothing.
type Difference struct {
	Path string `json:"path"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Changes returns what the event changes.
func (e *Event) Changes() *Changes {
	c := &Changes{Event: e.ID(), Signatures: e.Needs()}
	if !e.New() {
		c.Base = &EventRef{RootVersion: e.baseRoot.Signed.Version, RootSHA256: fileSum(e.roots[len(e.roots)-1])}
		if e.baseTargets != nil {
			c.Base.TargetsVersion, c.Base.TargetsSHA256 = e.baseTargets.Signed.Version, fileSum(e.baseData)
		}
	}
	if e.root != nil {
		c.Root = changesOf(viewRoot(e.baseRoot), viewRoot(e.root))
	}
	if e.targets != nil {
		c.Targets = changesOf(viewTargets(e.baseTargets), viewTargets(e.targets))
	}
	return c
}

func fileSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// view is a piece of metadata as changesOf compares it: what it understands,
// and all of it as plain JSON, from which it takes what it has told.
type view struct {
	version int64
	expires *time.Time
	roles   []roleView
	all     map[string]any
}

type roleView struct {
	authority
	policy      RolePolicy
	hasPolicy   bool
	delegated   bool
	paths       []string
	terminating bool
}

// viewRoot takes a root apart; nil is what a root of this program starts as.
func viewRoot(root *tuf.Metadata[tuf.RootType]) view {
	if root == nil {
		fresh := tuf.Root()
		return view{all: rootJSON(&fresh.Signed)}
	}
	v := view{version: root.Signed.Version, expires: &root.Signed.Expires, all: rootJSON(&root.Signed)}
	for _, name := range Roles() {
		a, err := rootAuthority(&root.Signed, name)
		if err != nil {
			continue // only in a base; the role is then shown as new
		}
		role := roleView{authority: a}
		role.policy, role.hasPolicy = policyFrom(root.Signed.Roles[name].UnrecognizedFields)
		v.roles = append(v.roles, role)
	}
	return v
}

// viewTargets does the same for targets.
func viewTargets(targets *tuf.Metadata[tuf.TargetsType]) view {
	if targets == nil {
		fresh := tuf.Targets()
		return view{all: targetsJSON(&fresh.Signed)}
	}
	v := view{version: targets.Signed.Version, expires: &targets.Signed.Expires, all: targetsJSON(&targets.Signed)}
	d := targets.Signed.Delegations
	if d == nil {
		return v
	}
	for _, r := range d.Roles {
		role := roleView{
			authority: authority{r.Name, r.KeyIDs, r.Threshold, d.Keys},
			delegated: true, paths: r.Paths, terminating: r.Terminating,
		}
		role.policy, role.hasPolicy = policyFrom(r.UnrecognizedFields)
		v.roles = append(v.roles, role)
	}
	return v
}

func (v view) role(name string) *roleView {
	i := slices.IndexFunc(v.roles, func(r roleView) bool { return r.role == name })
	if i < 0 {
		return nil
	}
	return &v.roles[i]
}

func (v view) names() []string {
	var names []string
	for _, r := range v.roles {
		names = append(names, r.role)
	}
	return names
}

// changesOf compares two versions of a piece of metadata.
func changesOf(before, after view) *MetadataChange {
	c := &MetadataChange{
		Version:   FromTo[int64]{before.version, after.version},
		Expires:   FromTo[*time.Time]{before.expires, after.expires},
		Roles:     []RoleChange{},
		Unchanged: []UnchangedRole{},
	}
	if before.version > 0 {
		c.Skipped = max(0, after.version-before.version-1)
	}
	told := newTold(before.all, after.all)
	names := after.names()
	for _, name := range before.names() {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if rc, changed := roleChange(before.role(name), after.role(name), told); changed {
			c.Roles = append(c.Roles, rc)
		} else {
			c.Unchanged = append(c.Unchanged, after.role(name).unchanged())
		}
	}
	if from, to := before.names(), after.names(); len(after.roles) > 0 && after.roles[0].delegated && len(from) > 0 && !slices.Equal(from, to) {
		c.Order = &FromTo[[]string]{from, to}
	}
	c.Other = told.rest()
	return c
}

func (r *roleView) unchanged() UnchangedRole {
	u := UnchangedRole{Role: r.role, Threshold: r.threshold, Keys: []KeyRef{}}
	for _, id := range r.ids {
		u.Keys = append(u.Keys, r.keyRef(id))
	}
	return u
}

// roleChange compares a role, and notes in told what it has said of it.
func roleChange(before, after *roleView, told *told) (RoleChange, bool) {
	var old, now roleView
	c := RoleChange{New: before == nil, Gone: after == nil, Added: []KeyRef{}, Removed: []KeyRef{}}
	if before != nil {
		old = *before
		c.Role = old.role
	}
	if after != nil {
		now = *after
		c.Role = now.role
	}
	c.Threshold = FromTo[int]{old.threshold, now.threshold}
	c.Keys = FromTo[int]{len(old.ids), len(now.ids)}
	var added, removed []string
	for _, id := range now.ids {
		if !slices.Contains(old.ids, id) || !sameKey(old.keys[id], now.keys[id]) {
			added, c.Added = append(added, id), append(c.Added, now.keyRef(id))
		}
	}
	for _, id := range old.ids {
		if !slices.Contains(now.ids, id) || !sameKey(old.keys[id], now.keys[id]) {
			removed, c.Removed = append(removed, id), append(c.Removed, old.keyRef(id))
		}
	}
	policy := FromTo[RolePolicy]{old.policy, now.policy}
	if policy.From.Expiry != policy.To.Expiry {
		c.Expiry = &FromTo[int64]{seconds64(policy.From.Expiry), seconds64(policy.To.Expiry)}
	}
	if policy.From.Window != policy.To.Window {
		c.Window = &FromTo[int64]{seconds64(policy.From.Window), seconds64(policy.To.Window)}
	}
	if !slices.Equal(old.paths, now.paths) {
		c.Paths = &FromTo[[]string]{old.paths, now.paths}
	}
	if old.terminating != now.terminating || c.New && now.delegated {
		c.Terminating = &FromTo[bool]{old.terminating, now.terminating}
	}
	told.role(before, after, added, removed)
	return c, c.New || c.Gone || c.Threshold.From != c.Threshold.To || len(added)+len(removed) > 0 ||
		c.Expiry != nil || c.Window != nil || c.Paths != nil || c.Terminating != nil
}

func seconds64(d time.Duration) int64 { return int64(d / time.Second) }
