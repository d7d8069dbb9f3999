package metadata

import (
	"fmt"
	"slices"
	"time"
)

const (
	clockFormat = "15:04"   // of a window's start
	maxDuration = 24 * 3600 // seconds of a window
)

// Maintenance is a hint when nodes had better be updated. Whether a node keeps
// to it is the node's own configuration. A nil *Maintenance is at any time.
type Maintenance struct {
	// Days on which a window starts: "mon" to "sun"; none: every day.
	Days     []string `json:"days,omitempty"`
	Start    string   `json:"start"`    // "HH:MM"
	Duration int64    `json:"duration"` // seconds, 60 to 86400
	// UTC says that Start and Days are in UTC, else in each node's local time.
	UTC bool `json:"utc"`
}

// Open reports whether a window is open at a time. local is the node's zone.
func (m *Maintenance) Open(now time.Time, local *time.Location) bool {
	if m == nil {
		return true
	}
	for _, day := range []int{-1, 0} { // a window may pass midnight
		if start, ok := m.start(now, local, day); ok && !now.Before(start) && now.Before(start.Add(m.length())) {
			return true
		}
	}
	return false
}

// Next returns when the next window opens after a time, in the zone that the
// hint speaks of. The zero time says that there is no need to wait for one.
func (m *Maintenance) Next(now time.Time, local *time.Location) time.Time {
	if m == nil {
		return time.Time{}
	}
	for day := range 9 { // a week, and a day that a change of the clocks may cost
		if start, ok := m.start(now, local, day); ok && start.After(now) {
			return start
		}
	}
	return time.Time{}
}

func (m *Maintenance) length() time.Duration { return time.Duration(m.Duration) * time.Second }

// start returns when the window of a day opens, counted from the day of now, and
// whether that day has one.
func (m *Maintenance) start(now time.Time, local *time.Location, day int) (time.Time, bool) {
	if m.UTC {
		local = time.UTC
	}
	at, err := time.Parse(clockFormat, m.Start)
	if err != nil {
		return time.Time{}, false // validate has seen to that
	}
	now = now.In(local)
	start := time.Date(now.Year(), now.Month(), now.Day()+day, at.Hour(), at.Minute(), 0, 0, local)
	date := time.Date(now.Year(), now.Month(), now.Day()+day, 12, 0, 0, 0, time.UTC)
	return start, len(m.Days) == 0 || slices.Contains(m.Days, weekdays()[date.Weekday()])
}

// weekdays are the names in the order of time.Weekday.
func weekdays() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

func (m *Maintenance) validate() error {
	if m == nil {
		return nil
	}
	for i, day := range m.Days {
		if !slices.Contains(weekdays(), day) || slices.Contains(m.Days[:i], day) {
			return fmt.Errorf("maintenance: day %q: use each of mon tue wed thu fri sat sun once: %w", day, ErrFormat)
		}
	}
	if at, err := time.Parse(clockFormat, m.Start); err != nil || at.Format(clockFormat) != m.Start {
		return fmt.Errorf("maintenance: start %q is not HH:MM: %w", m.Start, ErrFormat)
	}
	if m.Duration < 60 || m.Duration > maxDuration {
		return fmt.Errorf("maintenance: duration of %d s: use 60 to %d: %w", m.Duration, maxDuration, ErrFormat)
	}
	return nil
}
