package repository

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// States of a role's metadata.
const (
	StateOK      = "ok"
	StateDue     = "due"     // within the window before its expiry
	StateExpired = "expired" // clients refuse it
)

// RoleStatus is what there is to know about a role.
type RoleStatus struct {
	Role      string      `json:"role"`
	Version   int64       `json:"version"`
	Expires   time.Time   `json:"expires"` // of its bins too: the earliest
	Due       time.Time   `json:"due"`     // from when Refresh signs it again
	State     string      `json:"state"`
	Threshold int         `json:"threshold"`
	Keys      []KeyStatus `json:"keys"`
	// Bins is the number of hash bins that the role's targets are spread over.
	Bins int `json:"bins,omitempty"`
}

// KeyStatus is a public key that a role trusts.
type KeyStatus struct {
	ID   string  `json:"id"`
	Type KeyType `json:"type"`
}

// Status is the state of a repository.
type Status struct {
	Place string       `json:"place"`
	State string       `json:"state"` // the worst of the roles'
	Roles []RoleStatus `json:"roles"`
}

// Status returns the state of what is published. It takes no lock, and its cost
// does not grow with the number of releases.
func (r *Repository) Status(ctx context.Context) (*Status, error) {
	st, err := load(ctx, r.store)
	if err != nil {
		return nil, err
	}
	roles, err := st.live(ctx)
	if err != nil {
		return nil, err
	}
	status := &Status{Place: r.store.String(), State: StateOK}
	for _, role := range append([]liveRole{{Root, Root}, {Snapshot, Root}, {Timestamp, Root}}, roles...) {
		expires, err := st.expires(ctx, role)
		if err != nil {
			return nil, err
		}
		if role.parent != Root && st.isBin(role) {
			status.addBin(role.parent, expires)
			continue
		}
		rs, err := st.roleStatus(role, expires)
		if err != nil {
			return nil, err
		}
		status.Roles = append(status.Roles, rs)
	}
	order := Roles()
	slices.SortStableFunc(status.Roles, func(a, b RoleStatus) int {
		return cmp.Compare(rank(order, a.Role), rank(order, b.Role))
	})
	for i := range status.Roles {
		rs := &status.Roles[i]
		rs.judge(r.clock())
		if rs.State == StateExpired || status.State == StateOK {
			status.State = rs.State
		}
	}
	return status, nil
}

// rank orders the top-level roles first.
func rank(order []string, role string) int {
	if i := slices.Index(order, role); i >= 0 {
		return i
	}
	return len(order)
}

// roleStatus describes a role that is no bin. Due is relative to Expires until
// judge is called.
func (st *state) roleStatus(role liveRole, expires time.Time) (RoleStatus, error) {
	a, err := st.authority(role.name, role.parent)
	if err != nil {
		return RoleStatus{}, err
	}
	rs := RoleStatus{Role: role.name, Version: st.version(role.name), Expires: expires, Threshold: a.threshold}
	rs.Due = expires.Add(-st.policy(role).Window)
	for _, id := range a.ids {
		key := KeyStatus{ID: id}
		if k := a.keys[id]; k != nil {
			key.Type = KeyType(k.Type)
		}
		rs.Keys = append(rs.Keys, key)
	}
	return rs, nil
}

// addBin counts a bin to the role that it belongs to.
func (s *Status) addBin(parent string, expires time.Time) {
	for i := range s.Roles {
		rs := &s.Roles[i]
		if rs.Role != parent {
			continue
		}
		rs.Bins++
		if expires.Before(rs.Expires) {
			rs.Due = rs.Due.Add(expires.Sub(rs.Expires))
			rs.Expires = expires
		}
	}
}

// judge sets the state.
func (rs *RoleStatus) judge(now time.Time) {
	switch {
	case now.After(rs.Expires): // as clients do it (TUF specification, 5.4.4)
		rs.State = StateExpired
	case !now.Before(rs.Due):
		rs.State = StateDue
	default:
		rs.State = StateOK
	}
}

// version returns the version of a role's published metadata.
func (st *state) version(role string) int64 {
	switch role {
	case Root:
		return st.root.Signed.Version
	case Snapshot:
		return st.snapshot.Signed.Version
	case Timestamp:
		return st.timestamp.Signed.Version
	}
	if named := st.snapshot.Signed.Meta[metaName(role)]; named != nil {
		return named.Version
	}
	return 0
}
