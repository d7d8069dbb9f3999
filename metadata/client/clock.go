package client

import (
	"encoding/json"
	"fmt"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"tufboot/metadata"
)

const clockFile = "clock.json"

// clockRecord is the content of clock.json.
type clockRecord struct {
	LastSeen time.Time `json:"last_seen"`
}

// reference is the time that expiry is judged by, and where it came from.
type reference struct {
	time     time.Time
	from     string
	now      time.Time // what the machine's clock said
	lastSeen time.Time
}

// newReference returns the latest of the three clocks.
func newReference(now, floor, lastSeen time.Time) reference {
	r := reference{time: now, from: "the machine's clock", now: now, lastSeen: lastSeen}
	if floor.After(r.time) {
		r.time, r.from = floor, "the build time of this program"
	}
	if lastSeen.After(r.time) {
		r.time, r.from = lastSeen, "the last complete refresh"
	}
	r.time = r.time.UTC()
	return r
}

// expired returns the error for metadata that expired at the given time, or nil.
func (r reference) expired(what string, expires time.Time) error {
	if !r.time.After(expires) {
		return nil
	}
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	advice := "Either the repository was not refreshed in time (its owner runs \"repo-tool refresh\"), or the server or a cache on the way serves old files."
	if r.from == "the machine's clock" {
		advice += " Check this node's clock too: it says " + stamp(r.now) + "."
	} else {
		advice += " This node's clock says " + stamp(r.now) + ", which is before a time that has passed: set the clock."
	}
	if r.from == "the last complete refresh" {
		advice += " If the clock was ahead at that refresh, remove " + clockFile + " from the folder with the kept metadata once."
	}
	return &VerificationError{
		Reason: ReasonExpired,
		Advice: advice,
		Err:    fmt.Errorf("%s expired at %s; it is %s by %s", what, stamp(expires), stamp(r.time), r.from),
	}
}

// clockSlack is how far a clock may be behind a time that has passed before it
// counts as wrong: clocks are set back by seconds all the time.
const clockSlack = time.Hour

// Time returns the time for what the repository plans ahead, such as a rollout,
// and whether it is the machine's own. Refresh must have succeeded before, else
// it is just the machine's clock.
//
// Where that is before a time that has certainly passed, it is wrong, and may
// stay so for ever (a node without a battery and without NTP). Then the
// repository itself is the clock: what counts is when the timestamp was signed,
// which moves on with every refresh of the repository. Expiry is not judged by
// that, because a timestamp would vouch for itself.
func (c *Client) Time() (now time.Time, sound bool) {
	if c.trusted == nil {
		return c.opts.Now().UTC(), true
	}
	if c.ref.time.Sub(c.ref.now) <= clockSlack {
		return c.ref.time, true
	}
	if signed := signedAt(c.trusted); signed.After(c.ref.time) {
		return signed, false
	}
	return c.ref.time, false
}

// signedAt returns when the timestamp was signed, by its expiry and how long the
// root says that a timestamp lives; zero where the root does not say so.
func signedAt(t *trustedmetadata.TrustedMetadata) time.Time {
	role := t.Root.Signed.Roles[tuf.TIMESTAMP]
	if role == nil || t.Timestamp == nil {
		return time.Time{}
	}
	const most = 10 * 366 * 24 * 3600
	seconds, ok := role.UnrecognizedFields[metadata.ExpiryField].(float64)
	if !ok || seconds <= 0 || seconds > most {
		return time.Time{}
	}
	return t.Timestamp.Signed.Expires.Add(-time.Duration(seconds) * time.Second).UTC()
}

// readClock returns the reference time of the last complete refresh, or zero.
func (s *store) readClock() (lastSeen time.Time, err error) {
	data, err := s.read(clockFile, 4096)
	if err != nil {
		return time.Time{}, err
	}
	var record clockRecord
	if err := json.Unmarshal(data, &record); err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", clockFile, err)
	}
	return record.LastSeen, nil
}

// saveClock keeps the reference time of a complete refresh.
func (s *store) saveClock(r reference) error {
	if !r.time.Truncate(time.Second).After(r.lastSeen) {
		return nil
	}
	data, err := json.Marshal(clockRecord{LastSeen: r.time.Truncate(time.Second)})
	if err != nil {
		return err
	}
	return s.write(clockFile, data)
}
