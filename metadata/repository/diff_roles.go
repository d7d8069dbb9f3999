package repository

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"
)

// RoleDiff is what is different about a role's metadata and who may sign it.
// What is the same on both sides is nil or empty.
type RoleDiff struct {
	Role      string             `json:"role"`
	Change    string             `json:"change"` // Added, Removed or Changed
	Version   *FromTo[int64]     `json:"version,omitempty"`
	Expires   *FromTo[time.Time] `json:"expires,omitempty"`
	Threshold *FromTo[int]       `json:"threshold,omitempty"`
	// KeysAdded and KeysRemoved are the keys on one side only.
	KeysAdded   []KeyStatus `json:"keys_added,omitempty"`
	KeysRemoved []KeyStatus `json:"keys_removed,omitempty"`
	// ExpirySeconds and WindowSeconds are the policy.
	ExpirySeconds *FromTo[int64] `json:"expiry_seconds,omitempty"`
	WindowSeconds *FromTo[int64] `json:"window_seconds,omitempty"`
	Bins          *FromTo[int]   `json:"bins,omitempty"`
	// Paths are the patterns that are delegated to the role.
	Paths *FromTo[[]string] `json:"paths,omitempty"`
	// Rewritten warns of the same version with other content, which a
	// repository never has: one of the two is not what it seems to be.
	Rewritten bool `json:"rewritten,omitempty"`
}

// compareRoles compares the roles by their status.
func (d *Diff) compareRoles(ctx context.Context, a, b *state) error {
	var was, is Status
	if err := was.addRoles(ctx, a); err != nil {
		return err
	}
	if err := is.addRoles(ctx, b); err != nil {
		return err
	}
	named := func(name string) func(RoleStatus) bool { return func(r RoleStatus) bool { return r.Role == name } }
	for _, before := range was.Roles {
		i := slices.IndexFunc(is.Roles, named(before.Role))
		if i < 0 {
			d.Roles = append(d.Roles, RoleDiff{Role: before.Role, Change: Removed, KeysRemoved: before.Keys})
			continue
		}
		role := compareRole(before, is.Roles[i])
		if role.Version == nil {
			same, err := sameContent(ctx, a, b, before.Role)
			if err != nil {
				return err
			}
			role.Rewritten = !same
		}
		if role.differs() {
			d.Roles = append(d.Roles, role)
		}
	}
	for _, after := range is.Roles {
		if !slices.ContainsFunc(was.Roles, named(after.Role)) {
			d.Roles = append(d.Roles, RoleDiff{Role: after.Role, Change: Added, KeysAdded: after.Keys})
		}
	}
	return nil
}

func compareRole(a, b RoleStatus) RoleDiff {
	d := RoleDiff{
		Role: a.Role, Change: Changed,
		Version:       different(a.Version, b.Version),
		Threshold:     different(a.Threshold, b.Threshold),
		ExpirySeconds: different(a.ExpirySeconds, b.ExpirySeconds),
		WindowSeconds: different(a.WindowSeconds, b.WindowSeconds),
		Bins:          different(a.Bins, b.Bins),
		KeysAdded:     without(b.Keys, a.Keys),
		KeysRemoved:   without(a.Keys, b.Keys),
	}
	if !a.Expires.Equal(b.Expires) {
		d.Expires = &FromTo[time.Time]{a.Expires, b.Expires}
	}
	if !slices.Equal(a.Paths, b.Paths) {
		d.Paths = &FromTo[[]string]{a.Paths, b.Paths}
	}
	return d
}

func different[T comparable](a, b T) *FromTo[T] {
	if a == b {
		return nil
	}
	return &FromTo[T]{a, b}
}

// without returns the keys that are not among others.
func without(keys, others []KeyStatus) []KeyStatus {
	var left []KeyStatus
	for _, k := range keys {
		if !slices.Contains(others, k) {
			left = append(left, k)
		}
	}
	return left
}

func (d RoleDiff) differs() bool {
	return d.Version != nil || d.Expires != nil || d.Threshold != nil || d.ExpirySeconds != nil || d.WindowSeconds != nil ||
		d.Bins != nil || d.Paths != nil || len(d.KeysAdded)+len(d.KeysRemoved) > 0 || d.Rewritten
}

// sameContent reports whether a role of the same version on both sides is the
// same file.
func sameContent(ctx context.Context, a, b *state, role string) (bool, error) {
	switch role {
	case Root:
		one, err := readMetadata(ctx, a.from, versionedFile(Root, a.root.Signed.Version))
		if err != nil {
			return false, err
		}
		other, err := readMetadata(ctx, b.from, versionedFile(Root, b.root.Signed.Version))
		return bytes.Equal(one, other), err
	case Timestamp:
		return bytes.Equal(a.timestampData, b.timestampData), nil
	case Snapshot:
		return sameFile(a.timestamp.Signed.Meta[metaName(Snapshot)], b.timestamp.Signed.Meta[metaName(Snapshot)]), nil
	}
	return sameFile(a.snapshot.Signed.Meta[metaName(role)], b.snapshot.Signed.Meta[metaName(role)]), nil
}

// PastAt returns the state with the given timestamp version: what is published
// (now is true), or one of the past states.
func PastAt(ctx context.Context, from Listable, version int64) (past Past, now bool, err error) {
	data, err := ReadTimestamp(ctx, from)
	if err != nil {
		return Past{}, false, err
	}
	if current, err := timestampVersion(data); err == nil && current == version {
		return Past{}, true, nil
	}
	all, err := History(ctx, from, 0)
	if err != nil {
		return Past{}, false, err
	}
	for _, p := range all {
		if p.Version() == version {
			return p, false, nil
		}
	}
	known := "none is"
	if n := len(all); n > 0 {
		known = fmt.Sprintf("%d are, from %d to %d", n, all[n-1].Version(), all[0].Version())
	}
	return Past{}, false, refuse(ReasonNoState, "choose one of those that are known",
		"no state with timestamp version %d is known in %s: %s", version, from, known)
}
