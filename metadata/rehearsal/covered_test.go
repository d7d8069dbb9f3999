package rehearsal_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/rehearsal"
	"tufboot/metadata/repository"
)

// TestCovered: where a state covers another, the real client never refuses to go
// from the second where it goes from the first. States and what follows them are
// made at random, with roles that come, go and go back.
func TestCovered(t *testing.T) {
	r := newRepo(t)
	r.publishAll("1", "2", "3")
	random := rand.New(rand.NewPCG(1, 2))
	type state struct {
		files *overlay
		past  repository.Past
	}
	some := func() state {
		o := r.next(func(s *tuf.SnapshotType) {
			s.Version = random.Int64N(4) + 4
			for _, name := range []string{"a.json", "b.json"} {
				if version := random.Int64N(3); version > 0 {
					s.Meta[name] = tuf.MetaFile(version)
				}
			}
		}, func(ts *tuf.TimestampType) { ts.Version = random.Int64N(6) + 3 })
		return state{o, repository.Past{Root: 1, Timestamp: o.files["metadata/timestamp.json"]}}
	}
	const n = 16
	var states, steps []state
	for range n {
		states, steps = append(states, some()), append(steps, some())
	}
	scratch, err := rehearsal.Scratch()
	must(t, err)
	defer os.RemoveAll(scratch)
	accepts := make(map[[2]int]bool) // state, step
	for i, s := range states {
		for j, step := range steps {
			dir := filepath.Join(scratch, fmt.Sprint(i, j))
			_, err := rehearsal.Put(t.Context(), dir, s.files, s.past)
			must(t, err)
			accepts[[2]int{i, j}], err = rehearsal.Accepts(t.Context(), dir, step.files)
			must(t, err)
		}
	}
	covering, accepted := 0, 0
	for i, a := range states {
		for j, b := range states {
			covers, err := rehearsal.Covers(t.Context(), a.files, a.past, b.files, b.past, 1)
			must(t, err)
			if !covers {
				continue
			}
			covering++
			for k := range steps {
				if !accepts[[2]int{i, k}] {
					continue
				}
				accepted++
				if !accepts[[2]int{j, k}] {
					t.Errorf("a node goes from state %d to step %d, and not from state %d, which that covers", i, k, j)
				}
			}
		}
	}
	if covering < 10 || accepted < 10 {
		t.Errorf("only %d pairs and %d steps: this shows nothing", covering, accepted)
	}
}
