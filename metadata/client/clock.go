package client

import (
	"encoding/json"
	"fmt"
	"time"
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
