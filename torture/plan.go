package main

import (
	"math/rand/v2"
	"slices"
)

// plan is which cases of a story are tried, and how.
type plan struct {
	draws   []int           // behind each number of requests
	updated map[string]bool // cases after which the next release is installed
	booted  map[string]bool // cases that are booted whole
}

// plan draws what is tried of a story. It is the same for the same seed and share.
func (w *workshop) plan(r *recording) plan {
	p := plan{draws: w.spread(r), updated: map[string]bool{}, booted: map[string]bool{}}
	if w.only != "" {
		p.updated[w.only], p.booted[w.only] = w.updates > 0, w.wholes > 0
		return p
	}
	var all, draws []string
	for n, count := range p.draws {
		for d := range count + 1 {
			c := cut{story: &r.story, requests: n, draw: d}.String()
			all = append(all, c)
			if d > 0 {
				draws = append(draws, c)
			}
		}
	}
	rng := rand.New(rand.NewPCG(w.seed, 2)) //nolint:gosec // to be drawn again
	pick := func(cases []string, count int, to map[string]bool) {
		rng.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
		for _, c := range cases[:min(count, len(cases))] {
			to[c] = true
		}
	}
	pick(draws, w.wholes, p.booted)
	pick(all, w.updates, p.updated)
	return p
}

// spread says how many draws there are behind each number of requests: half of
// them near turning points, where a write means most, and none where a flush has
// covered everything.
func (w *workshop) spread(r *recording) []int {
	drawn := make([]int, len(r.requests)+1)
	open := r.unflushed()
	rng := rand.New(rand.NewPCG(w.seed, 1)) //nolint:gosec // to be drawn again
	turns := slices.DeleteFunc([]int{r.history.armed, r.history.committed, r.history.durable, r.history.gaveUp}, func(n int) bool { return n == none })
	for left := w.draws; left > 0; {
		at := rng.IntN(len(drawn))
		if left%2 == 0 {
			at = min(max(turns[rng.IntN(len(turns))]+rng.IntN(60)-40, 0), len(drawn)-1)
		}
		if open[at] {
			drawn[at]++
			left--
		} else if !slices.Contains(open, true) {
			break
		}
	}
	return drawn
}

// unflushed tells behind which numbers of requests there are writes that no flush
// has covered.
func (s *story) unflushed() []bool {
	open := make([]bool, len(s.requests)+1)
	for n, q := range s.requests {
		open[n+1] = q.size > 0 && !q.fua || open[n] && !q.flush
	}
	return open
}
