package client_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/internal/console"
	"tufboot/metadata/client"
)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

// A node without a clock starts in 1970, when no metadata has expired.
func TestClockFloor(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	opts.Now = at(time.Unix(0, 0))
	opts.ClockFloor = epoch
	must(t, refresh(t, opts))
	opts.ClockFloor = epoch.Add(8 * day) // the timestamp lives 7 days
	wantReason(t, refresh(t, opts), client.ReasonExpired)
}

func TestLastSeenIsAFloor(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	opts.Now = at(epoch.Add(6 * day))
	must(t, refresh(t, opts))
	opts.Now = at(time.Unix(0, 0))
	must(t, refresh(t, opts))
	r.life[tuf.TIMESTAMP] = 5 * day
	r.publishTimestamp()
	err := refresh(t, opts)
	wantReason(t, err, client.ReasonExpired)
	if hint := console.Hint(err); !strings.Contains(hint, "1970") || !strings.Contains(hint, "set the clock") {
		t.Errorf("hint %q does not speak of the clock", hint)
	}
}

// A clock that is far ahead finds everything expired, and leaves no trace.
func TestClockInTheFutureLeavesNoTrace(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	for range 2 { // with nothing kept, and with metadata kept
		opts.Now = at(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC))
		wantReason(t, refresh(t, opts), client.ReasonExpired)
		opts.Now = at(epoch)
		must(t, refresh(t, opts))
	}
	trust, err := client.LocalTrust(opts)
	must(t, err)
	if !trust.LastRefresh.Equal(epoch) {
		t.Errorf("last refresh %v, want %v", trust.LastRefresh, epoch)
	}
}

// A clock that is ahead by less than the metadata's life is believed, and does
// not lock the node out once it is set right.
func TestClockSomewhatAheadDoesNotLockOut(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	opts.Now = at(epoch.Add(7 * day)) // the last moment
	must(t, refresh(t, opts))
	opts.Now = at(epoch.Add(time.Hour))
	r.now = epoch.Add(time.Hour)
	r.publish()
	must(t, refresh(t, opts))
}

// What a failed refresh saw is not remembered, whichever role it failed at.
func TestLastSeenNeedsACompleteRefresh(t *testing.T) {
	for _, role := range []string{tuf.TIMESTAMP, tuf.SNAPSHOT, tuf.TARGETS, tuf.ROOT} {
		r := newRepo(t, "repo")
		opts := options(t, r, fileURL(r))
		must(t, refresh(t, opts))
		for other := range r.life {
			r.life[other] = 1000 * day
		}
		r.life[role] = day
		if role == tuf.ROOT {
			r.signRoot()
		}
		r.publish()
		opts.Now = at(epoch.Add(2 * day))
		wantReason(t, refresh(t, opts), client.ReasonExpired)
		trust, err := client.LocalTrust(opts)
		must(t, err)
		if !trust.LastRefresh.Equal(epoch) {
			t.Errorf("%s expired, and yet the last refresh is %v", role, trust.LastRefresh)
		}
	}
}

func TestTrust(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	trust, err := client.LocalTrust(opts)
	must(t, err)
	if trust.Root.Version != 1 || trust.Timestamp != (client.Held{}) || !trust.LastRefresh.IsZero() {
		t.Errorf("before any refresh: %+v", trust)
	}
	if _, err := os.Stat(opts.Dir); err == nil {
		t.Error("asking made the folder")
	}
	c := open(t, opts)
	must(t, c.Refresh(t.Context()))
	trust = c.Trust()
	want := client.Held{Version: 1, Expires: epoch.Add(7 * day)}
	if trust.Timestamp != want || trust.Snapshot.Version != 1 || trust.Targets.Version != 1 || trust.Targets.Expired {
		t.Errorf("after a refresh: %+v", trust)
	}
	opts.Now = at(epoch.Add(8 * day))
	must(t, os.WriteFile(filepath.Join(opts.Dir, "snapshot.json"), []byte("garbage"), 0o600))
	before := folder(t, opts.Dir)
	trust, err = client.LocalTrust(opts)
	must(t, err)
	if !trust.Timestamp.Expired || trust.Root.Expired || trust.Snapshot.Version != 0 {
		t.Errorf("eight days later, damaged: %+v", trust)
	}
	if len(folder(t, opts.Dir)) != len(before) {
		t.Error("asking changed the folder")
	}
	opts.Root = []byte("{}")
	if _, err := client.LocalTrust(opts); err == nil {
		t.Error("no error for a useless root")
	}
}
