package repository

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"

	"tufboot/metadata/storage"
)

func TestRefreshWindows(t *testing.T) {
	p := DefaultPolicy()
	due := func(role string) time.Time { return start.Add(p[role].Expiry - p[role].Window) }
	for _, c := range []struct {
		name string
		now  time.Time
		want []string
	}{
		{"at once", start, nil},
		{"a second before the first window", due(Timestamp).Add(-time.Second), nil},
		{"timestamp", due(Timestamp), []string{Timestamp}},
		{"snapshot", due(Snapshot), []string{Snapshot, Timestamp}},
		{"all", due(Root), []string{Channels, Releases, Targets, Snapshot, Root, Timestamp}},
		{"long expired", start.AddDate(10, 0, 0), []string{Channels, Releases, Targets, Snapshot, Root, Timestamp}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, keys := newRepo(t)
			publish(t, r, keys, "1")
			before := tree(t, r.Place())
			r.now = func() time.Time { return c.now }
			got, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Signed, c.want) && len(got.Signed)+len(c.want) > 0 {
				t.Errorf("signed %q, want %q", got.Signed, c.want)
			}
			if c.want == nil && !slices.Equal(before, tree(t, r.Place())) {
				t.Error("something was written")
			}
			again := newReader(t, r.Place())
			again.now = c.now
			again.sees("1")
			if s, err := r.Status(t.Context()); err != nil || s.State != StateOK {
				t.Errorf("status after refresh: %+v, %v", s, err)
			}
		})
	}
}

// someKeys holds only the keys of some roles.
type someKeys struct {
	Signers
	ids []string
}

func (k someKeys) Signer(ctx context.Context, id string) (signature.Signer, error) {
	if !slices.Contains(k.ids, id) {
		return nil, ErrNoKey
	}
	return k.Signers.Signer(ctx, id)
}

// TestRefreshWithOnlineKeys has only the keys of snapshot and timestamp, as a
// scheduler has.
func TestRefreshWithOnlineKeys(t *testing.T) {
	r, keys := newRepo(t)
	st, err := load(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	online := someKeys{keys, slices.Concat(st.root.Signed.Roles[Snapshot].KeyIDs, st.root.Signed.Roles[Timestamp].KeyIDs)}
	r.now = func() time.Time { return start.Add(350 * day) }
	got, err := r.Refresh(t.Context(), RefreshOptions{Keys: online})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Signed, []string{Snapshot, Timestamp}) || len(got.Skipped) != 4 {
		t.Errorf("got %+v", got)
	}
	if s, err := r.Status(t.Context()); err != nil || s.State != StateDue {
		t.Errorf("status: %+v, %v", s, err)
	}
	_, err = r.Refresh(t.Context(), RefreshOptions{Keys: someKeys{keys, nil}, All: true})
	wantReason(t, err, ReasonNotEnoughKeys)
}

// TestPolicyIsStored makes a repository with a policy of its own and expects
// later commands to follow it.
func TestPolicyIsStored(t *testing.T) {
	roles, keys, _ := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
	policy := DefaultPolicy()
	policy[Timestamp] = RolePolicy{Expiry: 3 * time.Hour, Window: time.Hour}
	r, err := Create(t.Context(), storage.NewFolder(t.TempDir()), CreateOptions{Options: at(start), Roles: roles, Keys: keys, Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, r, keys, "1")
	s, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ts := s.Roles[3]
	if !ts.Expires.Equal(start.Add(3*time.Hour)) || !ts.Due.Equal(start.Add(2*time.Hour)) {
		t.Errorf("timestamp: %+v", ts)
	}
	for name, bad := range map[string]RolePolicy{
		"window longer": {time.Hour, time.Hour}, "no expiry": {0, 0}, "negative": {time.Hour, -1},
	} {
		policy[Root] = bad
		if _, err := newState(nil, CreateOptions{Roles: roles, Policy: policy}); err == nil {
			t.Errorf("policy with %s: accepted", name)
		}
	}
}

func TestStatusStates(t *testing.T) {
	r, _ := newRepo(t)
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, StateOK}, {7*day - time.Second, StateOK}, {7 * day, StateDue},
		{14 * day, StateDue}, {14*day + time.Second, StateExpired},
	} {
		r.now = func() time.Time { return start.Add(c.after) }
		s, err := r.Status(t.Context())
		if err != nil || s.State != c.want {
			t.Errorf("after %s: %+v, %v; want %s", c.after, s, err, c.want)
		}
	}
}
