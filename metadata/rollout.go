package metadata

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// MaxWaves, MaxSteps and MaxPrevious are how many waves a rollout, and how many
// steps and previous releases each architecture of a channel file may hold.
const (
	MaxWaves    = 32
	MaxSteps    = 16
	MaxPrevious = 16
)

const (
	maxAfter  = 366 * 24 * 3600 // seconds: a rollout ends within a year
	firstYear = 2000            // of every time in a channel file
	lastYear  = 2999
)

// Rollout gives a release to more and more of the nodes. From Start plus a
// wave's After on, the wave's Percent of the nodes may have it, until the next
// wave; before the first one nobody. Where the last wave is below 100 percent,
// the others wait for another channel file.
//
// A nil *Rollout is everybody at once.
type Rollout struct {
	Start time.Time `json:"start"` // UTC, whole seconds
	// Waves increase in both their fields. An empty list, which is not the same
	// as none, holds the release back from everybody.
	Waves []Wave `json:"waves"`
}

// Wave is one step of a rollout.
type Wave struct {
	After   int64 `json:"after"`   // seconds after the rollout's start
	Percent int   `json:"percent"` // of the nodes, 1 to 100
}

// opens returns when a wave opens.
func (r *Rollout) opens(w Wave) time.Time {
	return r.Start.Add(time.Duration(w.After) * time.Second)
}

// Percent returns how many percent of the nodes may have the release at a time.
func (r *Rollout) Percent(now time.Time) int {
	if r == nil {
		return 100
	}
	percent := 0
	for _, w := range r.Waves {
		if now.Before(r.opens(w)) {
			break
		}
		percent = w.Percent
	}
	return percent
}

// Opens returns when the node at a position (see Position) may have the
// release; false: no wave reaches it. The zero time says that it need not wait.
func (r *Rollout) Opens(position float64) (time.Time, bool) {
	if r == nil {
		return time.Time{}, true
	}
	for _, w := range r.Waves {
		if position*100 < float64(w.Percent) {
			return r.opens(w), true
		}
	}
	return time.Time{}, false
}

// Pause returns the rollout without the waves that have not opened yet: nobody
// else gets the release.
func (r *Rollout) Pause(now time.Time) *Rollout {
	if r == nil {
		return nil
	}
	paused := &Rollout{Start: r.Start, Waves: []Wave{}}
	for _, w := range r.Waves {
		if !now.Before(r.opens(w)) {
			paused.Waves = append(paused.Waves, w)
		}
	}
	return paused
}

// Position returns a node's place in the rollout of a release, from 0 (first) to
// below 1: the SHA-256 of the node's seed, a zero byte and the release's
// identity, as a fraction. So a node keeps its place during one rollout, and
// another node goes first in the next.
func Position(seed string, id ID) float64 {
	sum := sha256.Sum256([]byte(seed + "\x00" + string(id)))
	const bits = 53 // of a float64's fraction
	return float64(binary.BigEndian.Uint64(sum[:8])>>(64-bits)) / (1 << bits)
}

func (r *Rollout) validate() error {
	if r == nil {
		return nil
	}
	if err := checkTime(r.Start); err != nil {
		return fmt.Errorf("rollout: start: %w", err)
	}
	if r.Waves == nil || len(r.Waves) > MaxWaves {
		return fmt.Errorf("rollout: %d waves: give at most %d, or an empty list: %w", len(r.Waves), MaxWaves, ErrFormat)
	}
	before := Wave{After: -1}
	for i, w := range r.Waves {
		if w.After <= before.After || w.Percent <= before.Percent {
			return fmt.Errorf("rollout: wave %d (%d percent after %d s) does not come after the one before: %w", i+1, w.Percent, w.After, ErrFormat)
		}
		if w.After > maxAfter || w.Percent > 100 {
			return fmt.Errorf("rollout: wave %d (%d percent after %d s): at most 100 percent, within %d s: %w", i+1, w.Percent, w.After, maxAfter, ErrFormat)
		}
		before = w
	}
	return nil
}

// checkTime wants one way to write a time.
func checkTime(t time.Time) error {
	if t.Location() != time.UTC || t.Nanosecond() != 0 || t.Year() < firstYear || t.Year() > lastYear {
		return fmt.Errorf("time %s: use whole seconds in UTC (Z), years %d to %d: %w", t, firstYear, lastYear, ErrFormat)
	}
	return nil
}
