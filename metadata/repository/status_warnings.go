package repository

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tufboot/metadata"
)

// Codes of warnings. They are a contract with scripts.
const (
	WarnUnreachable   = "threshold-unreachable" // a role can never be signed again
	WarnDuplicateKey  = "duplicate-key"         // one key under two ids
	WarnRootThreshold = "root-threshold-1"      // one stolen key changes everything
	WarnRootKeys      = "root-keys-no-spare"    // one lost key, and root cannot be signed
	WarnOnlineKey     = "offline-key-online"    // the same key for offline and online roles
	WarnWindow        = "window-too-short"      // expires before the scheduler, or people, come round
	WarnChannel       = "channel-unreadable"    // nodes of that channel cannot update
	WarnHistoryNewer  = "history-newer"         // nodes hold a newer state than is published
	WarnHistoryGap    = "history-gap"           // states that the regression check cannot try
	WarnStrayRoot     = "stray-root"            // it will be in the way of a change of keys
	WarnUnnamed       = "snapshot-not-named"    // a newer one is there: perhaps an older state was put back
)

// Warning is something that works today and will not for ever, or not against
// everybody.
type Warning struct {
	Code string `json:"code"`
	Role string `json:"role,omitempty"` // or channel
	Text string `json:"text"`
}

// The shortest windows that are no cause for a warning: a scheduler refreshes
// the online roles once a day, people with offline keys have to be brought
// together.
const (
	onlineWindow  = day
	offlineWindow = 7 * day
)

func (s *Status) warn(st *state) {
	s.Warnings = []Warning{}
	add := func(code, role, format string, args ...any) {
		s.Warnings = append(s.Warnings, Warning{code, role, fmt.Sprintf(format, args...)})
	}
	for _, role := range s.Roles {
		s.warnRole(st, role, add)
	}
	s.warnOnlineKeys(st, add)
	for _, c := range s.Channels {
		if c.Error != "" {
			add(WarnChannel, c.Channel, "channel %s cannot be read, so its nodes cannot update: %s", c.Channel, c.Error)
		}
	}
	if s.stray != "" {
		add(WarnStrayRoot, Root, "%s does not belong to the row of roots, which ends with version %d: clients would take it for the next one after a change of keys, and refuse it; find out who put it there, and remove it", s.stray, s.Roots)
	}
	s.warnHistory(add)
}

type addWarning func(code, role, format string, args ...any)

func (s *Status) warnRole(st *state, role RoleStatus, add addWarning) {
	a, err := st.authorityOf(role.Role)
	if err != nil {
		return
	}
	distinct := len(a.distinct())
	if distinct < role.Threshold {
		add(WarnUnreachable, role.Role, "%s needs %d signatures and has %d keys that clients can verify: it can never be signed again; add keys", role.Role, role.Threshold, distinct)
	}
	if usable := usableKeys(a); distinct < usable {
		add(WarnDuplicateKey, role.Role, "%s lists the same key under more than one id: it counts once; remove the others", role.Role)
	}
	if role.Role == Root {
		if role.Threshold == 1 {
			add(WarnRootThreshold, Root, "one root key alone can change every other key: whoever steals it owns all nodes; use a threshold of 2 or more")
		}
		switch distinct {
		case 1:
			add(WarnRootKeys, Root, "there is one root key: with it lost, keys can never be changed again; add others")
		case role.Threshold:
			add(WarnRootKeys, Root, "all %d root keys are needed to sign: with one of them lost, keys can never be changed again; add one more than the threshold", distinct)
		}
	}
	least, who := onlineWindow, "a scheduler that refreshes once a day"
	if role.Role == Root || role.Role == Targets {
		least, who = offlineWindow, "people with offline keys"
	}
	if window := time.Duration(role.WindowSeconds) * time.Second; window < least {
		add(WarnWindow, role.Role, "%s is due only %s before it expires: %s may come too late; choose a window of %s or more", role.Role, short(window), who, short(least))
	}
}

// short writes a duration for people, without zero parts.
func short(d time.Duration) string {
	if d >= day && d%day == 0 {
		if d == day {
			return "1 day"
		}
		return fmt.Sprintf("%d days", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// authorityOf returns who may sign a role that is loaded or whose parent is.
func (st *state) authorityOf(role string) (authority, error) {
	if isTopLevel(role) {
		return rootAuthority(&st.root.Signed, role)
	}
	for _, r := range st.roles {
		if slices.Contains(directChildren(r), role) {
			return st.authority(role, r.name)
		}
	}
	return authority{}, invalid("nothing delegates to role %s", role)
}

// directChildren returns the roles that a role delegates to by name, without
// bins.
func directChildren(r *targetsRole) []string {
	var names []string
	if d := r.md.Signed.Delegations; d != nil {
		for _, c := range d.Roles {
			names = append(names, c.Name)
		}
	}
	return names
}

func usableKeys(a authority) int {
	n := 0
	for _, id := range slices.Compact(slices.Sorted(slices.Values(a.ids))) {
		if _, ok := fingerprint(a.keys[id]); ok {
			n++
		}
	}
	return n
}

// warnOnlineKeys warns of a key that is needed offline and is online all the
// same: it signs snapshot, timestamp, or what targets delegates.
func (s *Status) warnOnlineKeys(st *state, add addWarning) {
	online := make(map[string]string) // role by key
	for _, role := range s.Roles {
		if role.Role == Root || role.Role == Targets {
			continue
		}
		if a, err := st.authorityOf(role.Role); err == nil {
			for key := range a.distinct() {
				if online[key] == "" {
					online[key] = role.Role
				}
			}
		}
	}
	for _, role := range []string{Root, Targets} {
		a, err := st.authorityOf(role)
		if err != nil {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(a.distinct())) {
			if other := online[key]; other != "" {
				add(WarnOnlineKey, role, "one key signs %s and %s: it cannot be offline and at hand for each release; give %s a key of its own", role, other, role)
			}
		}
	}
}

// warnHistory compares what is published with what is known of the past.
func (s *Status) warnHistory(add addWarning) {
	h := s.History
	if h == nil {
		return
	}
	var published int64
	for _, role := range s.Roles {
		if role.Role == Timestamp {
			published = role.Version
		}
	}
	if s.unnamed != "" {
		add(WarnUnnamed, Snapshot, "timestamp.json does not name %s: %s", s.unnamed, whyUnnamed)
	}
	// A change of keys may publish a second timestamp at once, which is no state
	// of its own.
	const step = 2
	switch {
	case s.Older != nil:
		add(WarnHistoryNewer, Timestamp, "%v: nodes that have seen it refuse this; %s", s.Older, s.Older.Advice)
	case h.Newest > published: // by the name alone, and so no past state
	case h.States == 0 && published > 1:
		add(WarnHistoryGap, Timestamp, "nothing is known of the states before timestamp version %d, so whether nodes get from them to the next cannot be tried (a mirror keeps no history, and needs none)", published)
	case published-h.Newest > step:
		add(WarnHistoryGap, Timestamp, "nothing is known of the states between timestamp versions %d and %d: something else than this program has published", h.Newest, published)
	}
}

// pointers describes a channel's releases.
func pointers(c *metadata.Channel, now time.Time) []PointerStatus {
	releases := []PointerStatus{}
	for _, arch := range slices.Sorted(maps.Keys(c.Releases)) {
		ref := c.Releases[arch]
		releases = append(releases, PointerStatus{
			Arch: arch, Version: ref.Version, ID: ref.SHA256, Percent: ref.Rollout.Percent(now), Minimum: ref.Minimum,
		})
	}
	return releases
}
