package repository

import (
	"context"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
)

// The four top-level roles, in the order of the chain of trust.
const (
	Root      = tuf.ROOT
	Targets   = tuf.TARGETS
	Snapshot  = tuf.SNAPSHOT
	Timestamp = tuf.TIMESTAMP
)

// Roles returns the top-level roles in the order of the chain of trust.
func Roles() []string { return []string{Root, Targets, Snapshot, Timestamp} }

// RolePolicy says how long a role's metadata lives and when it is due.
type RolePolicy struct {
	Expiry time.Duration // from signing to expiry
	Window time.Duration // before expiry, in which Refresh signs again
}

// Policy is the policy of each role. It is stored in root.json, so that every
// later command follows it and only root keys can change it.
type Policy map[string]RolePolicy

const day = 24 * time.Hour

// DefaultPolicy returns the policy of a new repository. Root and targets are
// signed by people with offline keys, so they live a year and are due two
// months before. The timestamp bounds for how long a node can be shown an old
// state without noticing: two weeks, signed again by a machine in the second.
// Delegated roles have the policy of targets unless they are given their own.
func DefaultPolicy() Policy {
	return Policy{
		Root:      {Expiry: 365 * day, Window: 60 * day},
		Targets:   {Expiry: 365 * day, Window: 60 * day},
		Snapshot:  {Expiry: 30 * day, Window: 15 * day},
		Timestamp: {Expiry: 14 * day, Window: 7 * day},
	}
}

func (p Policy) check() error {
	for _, role := range Roles() {
		if err := p[role].check(role); err != nil {
			return err
		}
	}
	return nil
}

func (p RolePolicy) check(role string) error {
	if p.Expiry < time.Second || p.Window < 0 || p.Window >= p.Expiry {
		return refuse(ReasonBadPolicy, "choose a window that is shorter than the expiry",
			"policy of %s: expiry %s must be positive and longer than the window %s", role, p.Expiry, p.Window)
	}
	return nil
}

// Names of the fields that hold the policy of a role, in root.json or in the
// delegation. Clients ignore fields that they do not know (TUF specification,
// section 4).
const (
	expiryField = metadata.ExpiryField
	windowField = "x-tufboot-window-seconds"
)

const expiresField = metadata.ExpiresField

// store writes a role's policy into the unrecognized fields of its entry.
func (p RolePolicy) store(fields map[string]any) map[string]any {
	if fields == nil {
		fields = make(map[string]any)
	}
	fields[expiryField] = int64(p.Expiry / time.Second)
	fields[windowField] = int64(p.Window / time.Second)
	return fields
}

// policyFrom reads what store has written; false where it is not there or makes
// no sense (an entry made by another tool).
func policyFrom(fields map[string]any) (RolePolicy, bool) {
	expiry, ok1 := seconds(fields[expiryField])
	window, ok2 := seconds(fields[windowField])
	p := RolePolicy{Expiry: expiry, Window: window}
	return p, ok1 && ok2 && p.check("") == nil
}

func storePolicy(root *tuf.RootType, p Policy) {
	for _, role := range Roles() {
		r := root.Roles[role]
		r.UnrecognizedFields = p[role].store(r.UnrecognizedFields)
	}
}

// policyOf returns the policy of the top-level roles: what root.json holds, and
// the default where it holds none.
func policyOf(root *tuf.RootType) Policy {
	p := DefaultPolicy()
	for _, role := range Roles() {
		if r := root.Roles[role]; r != nil {
			if stored, ok := policyFrom(r.UnrecognizedFields); ok {
				p[role] = stored
			}
		}
	}
	return p
}

// policy returns the policy of a role whose parent is loaded: what the
// delegation holds, else the parent's.
func (st *state) policy(r liveRole) RolePolicy {
	if r.parent == "" || r.parent == Root {
		return policyOf(&st.root.Signed)[r.name]
	}
	parent := st.roles[r.parent]
	if d := parent.md.Signed.Delegations; d != nil {
		for _, entry := range d.Roles {
			if entry.Name != r.name {
				continue
			}
			if p, ok := policyFrom(entry.UnrecognizedFields); ok {
				return p
			}
		}
	}
	return st.policy(liveRole{parent.name, parent.parent})
}

// expiry returns when a targets role expires, from the snapshot where it says
// so, else from the role itself.
func (st *state) expiry(ctx context.Context, r liveRole) (time.Time, error) {
	if st.roles[r.name] == nil {
		if named := st.snapshot.Signed.Meta[metaName(r.name)]; named != nil {
			if s, ok := named.UnrecognizedFields[expiresField].(string); ok {
				if t, err := time.Parse(time.RFC3339, s); err == nil {
					return t, nil
				}
			}
		}
	}
	role, err := st.role(ctx, r.name, r.parent)
	if err != nil {
		return time.Time{}, err
	}
	return role.md.Signed.Expires, nil
}

// seconds converts a field's value; encoding/json makes numbers float64.
func seconds(v any) (time.Duration, bool) {
	const most = 100 * 365 * 24 * 3600 // keeps the product in range
	switch n := v.(type) {
	case float64:
		return time.Duration(n) * time.Second, n >= 0 && n <= most
	case int64:
		return time.Duration(n) * time.Second, n >= 0 && n <= most
	}
	return 0, false
}
