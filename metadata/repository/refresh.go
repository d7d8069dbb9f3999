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
	Signed   []string      `json:"signed"`             // roles, in the order of writing
	Finished []string      `json:"finished,omitempty"` // of these: to complete a change of keys
	Skipped  []SkippedRole `json:"skipped,omitempty"`  // due, but their keys are not here
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
// any interval. Root and all targets roles are skipped, and reported, where their
// keys are kept offline; without the keys of snapshot and timestamp it fails.
//
// A change of keys that was cut short after the new root is completed first, where
// the keys are here: readers fail until that is done, and its event may be lost.
func (r *Repository) Refresh(ctx context.Context, opts RefreshOptions) (*Refreshed, error) {
	result, err := r.refresh(ctx, opts)
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != ReasonUnfinished {
		return result, err
	}
	finished, err := r.finishChange(ctx, opts.Keys)
	if err != nil {
		return nil, err
	}
	if result, err = r.refresh(ctx, opts); err != nil {
		return nil, err
	}
	result.Finished, result.Signed = finished, append(finished, result.Signed...)
	return result, nil
}

func (r *Repository) refresh(ctx context.Context, opts RefreshOptions) (*Refreshed, error) {
	e, err := r.Edit(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	roles, err := e.state.live(ctx)
	if err != nil {
		return nil, err
	}
	result := &Refreshed{Signed: []string{}}
	roles = append([]liveRole{{Root, Root}}, append(roles, liveRole{Snapshot, Root}, liveRole{Timestamp, Root})...)
	for _, role := range roles {
		if err := e.refreshRole(ctx, role, opts, result); err != nil {
			return nil, err
		}
	}
	if len(e.changed) > 0 {
		for _, role := range e.follow() {
			result.Signed = append(result.Signed, role.name)
		}
	}
	result.Versions, err = e.Commit(ctx, opts.Keys)
	return result, err
}

// refreshRole marks a role to be signed if it is due and its keys are here.
func (e *Edit) refreshRole(ctx context.Context, role liveRole, opts RefreshOptions, result *Refreshed) error {
	expires, err := e.state.expires(ctx, role)
	if err != nil {
		return err
	}
	due := e.state.policy(role).due(expires, e.repo.clock())
	if !opts.All && !due {
		return nil
	}
	err = e.unlockRoles(ctx, opts.Keys, []liveRole{role})
	if offline := role.name != Snapshot && role.name != Timestamp; offline && isNotEnoughKeys(err) {
		if due {
			result.Skipped = append(result.Skipped, SkippedRole{Role: role.name, Expires: expires, Cause: err.Error()})
		}
		return nil
	} else if err != nil {
		return err
	}
	if !isTopLevel(role.name) || role.name == Targets {
		if _, err := e.state.role(ctx, role.name, role.parent); err != nil {
			return err
		}
	}
	e.changed[role.name] = true
	return nil
}

// expires returns when a role's published metadata expires.
func (st *state) expires(ctx context.Context, r liveRole) (time.Time, error) {
	switch r.name {
	case Root:
		return st.root.Signed.Expires, nil
	case Snapshot:
		return st.snapshot.Signed.Expires, nil
	case Timestamp:
		return st.timestamp.Signed.Expires, nil
	}
	return st.expiry(ctx, r)
}

// due reports whether metadata that expires then is to be signed again.
func (p RolePolicy) due(expires, now time.Time) bool {
	return !now.Before(expires.Add(-p.Window))
}

func isNotEnoughKeys(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && refused.Reason == ReasonNotEnoughKeys
}
