package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
)

// tally counts what was tried.
type tally struct {
	writes     int // cuts between two requests, everything before on the disk
	draws      int // cuts with writes lost, torn or in another order
	judged     int // runs of GRUB's programs that were needed for it
	whole      int // disks that were booted whole
	violations []violation
}

// replay rebuilds the disk as it is after every request of a story, and after draws
// of what an unflushed cache may leave of the last ones, and judges each.
func (w *workshop) replay(ctx context.Context, r *recording) (t tally, err error) {
	dir := filepath.Join(w.dir, r.name)
	j, err := w.newJudge(ctx, r, dir)
	if err != nil {
		return t, err
	}
	d, err := newDisk(dir, r.image.Path, maphash.MakeSeed())
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	drawn := w.spread(r)
	d.keep()
	var open []int // writes that no flush has covered; undo takes them back
	for n := 0; n <= len(r.requests); n++ {
		c := cut{story: &r.story, requests: n}
		if w.wanted(c) {
			if err := t.judge(ctx, j, d, c); err != nil {
				return t, err
			}
			t.writes++
		}
		for draw := 1; draw <= drawn[n] && len(open) > 0; draw++ {
			if err := w.draw(ctx, &t, j, d, cut{story: &r.story, requests: n, draw: draw}, open); err != nil {
				return t, err
			}
		}
		if n == len(r.requests) {
			break
		}
		q := r.requests[n]
		if q.flush {
			open = open[:0]
			d.keep()
		}
		if q.size > 0 {
			if err := r.apply(d, whole(n, q)); err != nil {
				return t, err
			}
			if q.fua && len(open) == 0 {
				d.keep()
			} else if !q.fua {
				open = append(open, n)
			}
		}
	}
	t.judged = j.boots.ran() + j.slots.ran()
	return t, nil
}

// judge adds what a disk is guilty of.
func (t *tally) judge(ctx context.Context, j *judge, d *disk, c cut) error {
	found, err := j.try(ctx, d, c)
	if err != nil {
		return fmt.Errorf("case %s: %w", c, err)
	}
	t.violations = append(t.violations, found...)
	return nil
}

// draw judges one draw, and leaves the disk as it was.
func (w *workshop) draw(ctx context.Context, t *tally, j *judge, d *disk, c cut, open []int) (err error) {
	if !w.wanted(c) {
		return nil
	}
	rng := rand.New(rand.NewPCG(w.seed, uint64(c.requests)<<20|uint64(c.draw))) //nolint:gosec // to be drawn again
	c.pieces = drawPieces(rng, c.story.requests, open)
	// First what is there of them goes, then the pieces come. Requests behind the
	// last flush that are on the disk for good (FUA) stay.
	if err := d.undo(0); err != nil {
		return err
	}
	if err := c.story.applyAll(d, open[0], c.requests, func(q request) bool { return q.fua }); err != nil {
		return err
	}
	for _, p := range c.pieces {
		if err := c.story.apply(d, p); err != nil {
			return err
		}
	}
	if err := t.judge(ctx, j, d, c); err != nil {
		return err
	}
	t.draws++
	if w.boots(c) {
		if err := w.bootWhole(ctx, t, d, c); err != nil {
			return err
		}
	}
	if err := d.undo(0); err != nil {
		return err
	}
	return c.story.applyAll(d, open[0], c.requests, func(request) bool { return true })
}

// applyAll writes the requests from one to before another that are wanted.
func (s *story) applyAll(d *disk, from, to int, want func(request) bool) error {
	for n := from; n < to; n++ {
		if q := s.requests[n]; q.size > 0 && want(q) {
			if err := s.apply(d, whole(n, q)); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply writes a piece of a request to the disk.
func (s *story) apply(d *disk, p piece) error {
	q := s.requests[p.request]
	b := make([]byte, p.count*sectorSize)
	if _, err := s.file.ReadAt(b, q.data+p.from*sectorSize); err != nil {
		return err
	}
	return d.write(q.offset+p.from*sectorSize, b)
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

func (w *workshop) newJudge(ctx context.Context, r *recording, dir string) (*judge, error) {
	emulator, err := newEmulator(ctx, dir)
	if err != nil {
		return nil, err
	}
	releases, err := r.digests(ctx, dir)
	if err != nil {
		return nil, err
	}
	envAt, err := r.image.EnvOffset()
	return &judge{emulator: emulator, releases: releases, envAt: envAt}, err
}

// wanted reports whether a case is to be tried: all, or the one that was asked for.
func (w *workshop) wanted(c cut) bool { return w.only == "" || w.only == c.String() }

// copyTo copies what a disk holds now.
func (d *disk) copyTo(path string) error {
	out, err := exec.Command("cp", "--sparse=always", d.file.Name(), path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy the disk: %w: %s", err, out)
	}
	return nil
}
