package repository

import (
	"context"
	"errors"
	"time"
)

// RefreshOptions say what to sign again.
type RefreshOptions struct {
	Keys Signers
	// All signs every role whose keys are here, due or not.
	All bool
}

// Refreshed is what Refresh did.
type Refreshed struct {
	Signed   []string      `json:"signed"`            // roles, in the order of writing
	Skipped  []SkippedRole `json:"skipped,omitempty"` // due, but their keys are not here
	Versions Versions      `json:"versions"`
}

// SkippedRole is a role that is due and whose keys are not here.
type SkippedRole struct {
	Role    string    `json:"role"`
	Expires time.Time `json:"expires"`
	Cause   string    `json:"cause"`
}

// Refresh signs again what is within its window before expiry, and what names
// it. Outside all windows it writes nothing, so that a scheduler can call it at
// any interval. Root and targets are skipped, and reported, where their keys are
// kept offline; without the keys of snapshot and timestamp it fails.
func (r *Repository) Refresh(ctx context.Context, opts RefreshOptions) (*Refreshed, error) {
	e, err := r.Edit()
	if err != nil {
		return nil, err
	}
	defer e.Close()
	result := &Refreshed{Signed: []string{}}
	for _, role := range Roles() {
		_, expires := e.state.role(role)
		if !opts.All && !e.policy[role].due(expires, r.clock()) {
			continue
		}
		err := e.Unlock(ctx, opts.Keys, role)
		if offline := role == Root || role == Targets; offline && isNotEnoughKeys(err) {
			if e.policy[role].due(expires, r.clock()) {
				result.Skipped = append(result.Skipped, SkippedRole{Role: role, Expires: expires, Cause: err.Error()})
			}
			continue
		} else if err != nil {
			return nil, err
		}
		e.changed[role] = true
	}
	if len(e.changed) > 0 {
		result.Signed = e.roles()
	}
	result.Versions, err = e.Commit(ctx, opts.Keys)
	return result, err
}

// due reports whether metadata that expires then is to be signed again.
func (p RolePolicy) due(expires, now time.Time) bool {
	return !now.Before(expires.Add(-p.Window))
}

func isNotEnoughKeys(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && refused.Reason == ReasonNotEnoughKeys
}

// role returns the version and expiry of a role's published metadata.
func (st *state) role(role string) (int64, time.Time) {
	switch role {
	case Root:
		return versionAndExpiry(st.root)
	case Targets:
		return versionAndExpiry(st.targets)
	case Snapshot:
		return versionAndExpiry(st.snapshot)
	}
	return versionAndExpiry(st.timestamp)
}
