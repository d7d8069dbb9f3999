package repository

import (
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
	Expires   time.Time   `json:"expires"`
	Due       time.Time   `json:"due"` // from when Refresh signs it again
	State     string      `json:"state"`
	Threshold int         `json:"threshold"`
	Keys      []KeyStatus `json:"keys"`
}

// KeyStatus is a public key that a role trusts.
type KeyStatus struct {
	ID   string  `json:"id"`
	Type KeyType `json:"type"`
}

// Status is the state of a repository.
type Status struct {
	Dir   string       `json:"dir"`
	State string       `json:"state"` // the worst of the roles'
	Roles []RoleStatus `json:"roles"`
	// Targets is the number of targets, releases' files and channels alike.
	Targets int `json:"targets"`
}

// Status returns the state of what is published. It takes no lock.
func (r *Repository) Status() (*Status, error) {
	st, err := load(r.store)
	if err != nil {
		return nil, err
	}
	policy := policyOf(&st.root.Signed)
	status := &Status{Dir: r.dir, State: StateOK, Targets: len(st.targets.Signed.Targets)}
	for _, role := range Roles() {
		version, expires := st.role(role)
		rs := RoleStatus{
			Role:      role,
			Version:   version,
			Expires:   expires,
			Due:       expires.Add(-policy[role].Window),
			State:     policy[role].state(expires, r.clock()),
			Threshold: st.root.Signed.Roles[role].Threshold,
		}
		for _, id := range st.root.Signed.Roles[role].KeyIDs {
			rs.Keys = append(rs.Keys, KeyStatus{ID: id, Type: KeyType(st.root.Signed.Keys[id].Type)})
		}
		if rs.State == StateExpired || status.State == StateOK {
			status.State = rs.State
		}
		status.Roles = append(status.Roles, rs)
	}
	return status, nil
}

func (p RolePolicy) state(expires, now time.Time) string {
	switch {
	case now.After(expires): // as clients do it (TUF specification, 5.4.4)
		return StateExpired
	case p.due(expires, now):
		return StateDue
	}
	return StateOK
}
