package repository

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// States of a role's metadata.
const (
	StateOK      = "ok"
	StateDue     = "due"     // within the window before its expiry, or what WarnWithin says
	StateExpired = "expired" // clients refuse it
	// StateOlder is of the repository alone: nodes hold a newer state than is
	// published, and refuse this one.
	StateOlder = "older"
)

// RoleStatus is what there is to know about a role.
type RoleStatus struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"` // of its bins too: the earliest
	Due     time.Time `json:"due"`     // from when Refresh signs it again
	State   string    `json:"state"`
	// ExpirySeconds and WindowSeconds are the policy that the role is signed by.
	ExpirySeconds int64       `json:"expiry_seconds"`
	WindowSeconds int64       `json:"window_seconds"`
	Threshold     int         `json:"threshold"`
	Keys          []KeyStatus `json:"keys"`
	// Reachable says that there are as many keys that clients can verify, each
	// counted once, as the threshold asks for.
	Reachable bool `json:"reachable"`
	// Paths are the patterns of the targets that are delegated to the role, and
	// Terminating says that no role after it is asked for these.
	Paths       []string `json:"paths,omitempty"`
	Terminating bool     `json:"terminating,omitempty"`
	// Bins is the number of hash bins that the role's targets are spread over.
	Bins int `json:"bins,omitempty"`
}

// KeyStatus is a public key that a role trusts.
type KeyStatus struct {
	ID   string  `json:"id"`
	Type KeyType `json:"type"`
}

// ChannelStatus is where a channel points to.
type ChannelStatus struct {
	Channel  string          `json:"channel"`
	Role     string          `json:"role"`            // that signs it
	Error    string          `json:"error,omitempty"` // why the file cannot be read
	Releases []PointerStatus `json:"releases"`
}

// PointerStatus is a channel's release for an architecture.
type PointerStatus struct {
	Arch    string      `json:"arch"`
	Version string      `json:"version"`
	ID      metadata.ID `json:"id"`
	Percent int         `json:"percent"` // of the nodes, that may have it now
	Minimum string      `json:"minimum,omitempty"`
}

// HistoryStatus is what is known of past states.
type HistoryStatus struct {
	States int   `json:"states"`
	Oldest int64 `json:"oldest,omitempty"` // timestamp version
	Newest int64 `json:"newest,omitempty"` // timestamp version
	// Published is the timestamp version that was published last, 0 if that is not
	// known. Before it changes, the state that it replaces is in the history.
	Published int64 `json:"published,omitempty"`
}

// Status is the state of a repository.
type Status struct {
	Place string       `json:"place"`
	At    time.Time    `json:"at"`
	State string       `json:"state"` // StateOlder, or the worst of the roles'
	Roles []RoleStatus `json:"roles"`
	// Roots is the length of the chain that a client with the first root walks.
	Roots    int64           `json:"root_versions"`
	Channels []ChannelStatus `json:"channels"`
	// Bundle is what the place holds if it is a bundle: roles and channels are those
	// that are in it. Else it is nil.
	Bundle *Bundled `json:"bundle,omitempty"`
	// History is nil where the place has no list of its files, and for a bundle.
	History *HistoryStatus `json:"history,omitempty"`
	// Older says why what is published is older than it was, as the commands that
	// sign refuse it; nil if it is not, or if the place has no list of its files.
	Older    *RefusedError `json:"-"`
	unnamed  string        // see earlier.unnamed
	stray    string        // see strayRoot
	Warnings []Warning     `json:"warnings"`
}

// StatusOptions say how to judge.
type StatusOptions struct {
	Options
	// WarnWithin makes everything due that expires within it; 0: only what is
	// within its own window.
	WarnWithin time.Duration
}

// Status returns the state of what is published; see [ReadStatus].
func (r *Repository) Status(ctx context.Context) (*Status, error) {
	return ReadStatus(ctx, r.store, StatusOptions{Options: Options{Now: r.now}})
}

// ReadStatus returns the state of the repository in a place that can be read. It
// takes no lock and needs no keys, and its cost does not grow with the number of
// releases.
func ReadStatus(ctx context.Context, from storage.Reader, opts StatusOptions) (_ *Status, err error) {
	defer recoverMalformed(&err)
	bundle, err := ReadBundled(ctx, from)
	if err != nil {
		return nil, err
	}
	var was earlier
	list, listable := from.(Listable)
	listable = listable && bundle == nil
	if listable { // before what is published, which somebody may make newer meanwhile
		if was, err = readBefore(ctx, list); err != nil {
			return nil, err
		}
	}
	st, err := load(ctx, from)
	if err != nil {
		return nil, err
	}
	st.bundle = bundle
	now := newRepository(nil, opts.Options).clock()
	status := &Status{Place: from.String(), At: now, State: StateOK, Roots: st.root.Signed.Version, Bundle: bundle}
	if err := status.addRoles(ctx, st); err != nil {
		return nil, err
	}
	for i := range status.Roles {
		rs := &status.Roles[i]
		rs.judge(now, opts.WarnWithin)
		if rs.State == StateExpired || status.State == StateOK {
			status.State = rs.State
		}
	}
	if err := status.addChannels(ctx, st); err != nil {
		return nil, err
	}
	if listable {
		status.History = was.status()
		status.unnamed = was.unnamed(ctx, st)
		status.stray = strayRoot(ctx, from, st.root.Signed.Version)
		err := was.check(ctx, st)
		if errors.As(err, &status.Older) {
			status.State = StateOlder
		} else if err != nil {
			return nil, err
		}
	}
	status.warn(st)
	return status, nil
}

// addRoles describes root, targets, snapshot and timestamp, and then the
// delegated roles.
func (s *Status) addRoles(ctx context.Context, st *state) error {
	roles, err := st.live(ctx)
	if err != nil {
		return err
	}
	for _, role := range append([]liveRole{{Root, Root}, {Snapshot, Root}, {Timestamp, Root}}, roles...) {
		expires, err := st.expires(ctx, role)
		if err != nil {
			return err
		}
		if role.parent != Root && st.isBin(role) {
			s.addBin(role.parent, expires)
			continue
		}
		rs, err := st.roleStatus(role, expires)
		if err != nil {
			return err
		}
		s.Roles = append(s.Roles, rs)
	}
	order := Roles()
	slices.SortStableFunc(s.Roles, func(a, b RoleStatus) int {
		return cmp.Compare(rank(order, a.Role), rank(order, b.Role))
	})
	return nil
}

// rank orders the top-level roles first.
func rank(order []string, role string) int {
	if i := slices.Index(order, role); i >= 0 {
		return i
	}
	return len(order)
}

// roleStatus describes a role that is no bin.
func (st *state) roleStatus(role liveRole, expires time.Time) (RoleStatus, error) {
	a, err := st.authority(role.name, role.parent)
	if err != nil {
		return RoleStatus{}, err
	}
	policy := st.policy(role)
	rs := RoleStatus{
		Role: role.name, Version: st.version(role.name), Expires: expires, Due: expires.Add(-policy.Window),
		ExpirySeconds: int64(policy.Expiry / time.Second), WindowSeconds: int64(policy.Window / time.Second),
		Threshold: a.threshold, Reachable: len(a.distinct()) >= a.threshold,
	}
	if d := st.delegation(role); d != nil {
		rs.Paths, rs.Terminating = d.Paths, d.Terminating
	}
	for _, id := range a.ids {
		key := KeyStatus{ID: id}
		if k := a.keys[id]; k != nil {
			key.Type = KeyType(k.Type)
		}
		rs.Keys = append(rs.Keys, key)
	}
	return rs, nil
}

// delegation returns how a role is delegated to by name, nil for others.
func (st *state) delegation(role liveRole) *tuf.DelegatedRole {
	parent := st.roles[role.parent]
	if parent == nil || parent.md.Signed.Delegations == nil {
		return nil
	}
	roles := parent.md.Signed.Delegations.Roles
	if i := slices.IndexFunc(roles, func(r tuf.DelegatedRole) bool { return r.Name == role.name }); i >= 0 {
		return &roles[i]
	}
	return nil
}

// distinct returns the keys of a role that can be used, by the public key itself:
// the same one under two ids counts once, as clients count.
func (a authority) distinct() map[string]bool {
	keys := make(map[string]bool)
	for _, id := range a.ids {
		if own, ok := fingerprint(a.keys[id]); ok {
			keys[own] = true
		}
	}
	return keys
}

// fingerprint returns the SHA-256 of a public key, in hex; false if it is none.
func fingerprint(key *tuf.Key) (string, bool) {
	if key == nil {
		return "", false
	}
	public, err := key.ToPublicKey()
	if err != nil {
		return "", false
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", false
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), true
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
func (rs *RoleStatus) judge(now time.Time, within time.Duration) {
	switch {
	case now.After(rs.Expires): // as clients do it (TUF specification, 5.4.4)
		rs.State = StateExpired
	case !now.Before(rs.Due) || !now.Before(rs.Expires.Add(-within)):
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

// addChannels adds where the channels point to.
func (s *Status) addChannels(ctx context.Context, st *state) error {
	channels, err := st.channels(ctx)
	if err != nil {
		return err
	}
	s.Channels = []ChannelStatus{}
	for _, c := range channels {
		cs := ChannelStatus{Channel: c.Name, Role: c.Role, Releases: []PointerStatus{}}
		if c.Err != nil {
			cs.Error = c.Err.Error()
		} else {
			cs.Releases = pointers(c.Channel, s.At)
		}
		s.Channels = append(s.Channels, cs)
	}
	return nil
}
