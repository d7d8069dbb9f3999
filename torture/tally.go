package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tufboot/internal/docpage"
)

// tally counts what was tried of a story.
type tally struct {
	recording *recording

	mu         sync.Mutex
	writes     int // cuts between two requests, everything before on the disk
	draws      int // cuts with writes lost, torn or in another order
	grub       int // runs of GRUB's programs that were needed for it
	asked      int // starts of the agent on a disk
	forgot     int // of these, so many without DATA, which could not be mounted
	agent      int // of these, so many that were not known from others
	updates    int // disks on which the next release was installed
	whole      int // disks that were booted whole
	violations []violation
	time       time.Duration
}

// add runs fn, which adds to the tally, while nobody else does.
func (t *tally) add(fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn()
}

const head = `| story | writes | flushes | cuts after each request | lost, torn and reordered | runs of GRUB's programs | starts of the agent | of these run | without DATA | next update installed | booted whole | broken promises | time |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
`

func (t *tally) row() string {
	writes, flushes := t.recording.count()
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %s |\n", t.recording.name, writes, flushes,
		t.writes, t.draws, t.grub, t.asked, t.agent, t.forgot, t.updates, t.whole, len(t.violations), t.time.Round(time.Second))
}

// report prints what came of all stories, and writes it into a page. The error wraps
// errBroken if a promise was broken.
func (w *workshop) report(tallies []*tally, docs string) error {
	const most = 20 // of one story's violations are shown
	table, broken, tried := head, 0, 0
	for _, t := range tallies {
		table, broken, tried = table+t.row(), broken+len(t.violations), tried+t.writes+t.draws
		slices.SortFunc(t.violations, func(a, b violation) int {
			return cmp.Or(cmp.Compare(a.cut.requests, b.cut.requests), cmp.Compare(a.cut.draw, b.cut.draw), cmp.Compare(a.invariant, b.invariant))
		})
		for _, v := range t.violations[:min(len(t.violations), most)] {
			fmt.Printf("%s: %s: %s (seed %d)\n", v.cut, v.invariant, strings.TrimSpace(v.detail), w.seed)
		}
		if more := len(t.violations) - most; more > 0 {
			fmt.Printf("%s: and %d more\n", t.recording.name, more)
		}
	}
	if tried == 0 {
		return fmt.Errorf("%w: story %q, case %q; give the seed and the share too with which it was drawn", errNoCase, w.stories, w.only)
	}
	fmt.Print(table)
	if docs != "" && w.only == "" && w.stories == "" {
		if err := docpage.Write(docs, "torture", fmt.Sprintf("Seed %d.\n\n%s", w.seed, table)); err != nil {
			return err
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d: %w", broken, errBroken)
	}
	return nil
}
