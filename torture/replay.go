package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// torture replays a story and returns what came of it. Machines may still be running
// then, which add to it: wait for w.machines.
func (w *workshop) torture(ctx context.Context, r *recording) (*tally, error) {
	begin := time.Now()
	p := &replay{w: w, r: r, ctx: ctx, plan: w.plan(r), tally: &tally{recording: r}, seed: maphash.MakeSeed()}
	dir := filepath.Join(w.dir, r.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	emulator, err := newEmulator(ctx, dir)
	if err != nil {
		return nil, err
	}
	p.judge = &judge{emulator: emulator, releases: r.releases, envAt: r.envAt}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, w.workers)
	var workers sync.WaitGroup
	for i := range errs {
		workers.Go(func() {
			if errs[i] = p.work(ctx, filepath.Join(dir, fmt.Sprint(i))); errs[i] != nil {
				cancel()
			}
		})
	}
	workers.Wait()
	t := p.tally
	t.add(func() {
		t.grub, t.agent = p.judge.boots.ran()+p.judge.slots.ran(), p.judge.starts.ran()
		t.time = time.Since(begin)
		fmt.Fprintf(os.Stderr, "%s: %d cuts judged in %s\n", r.name, t.writes+t.draws, t.time.Round(time.Second))
	})
	return t, errors.Join(errs...)
}

// replay rebuilds the disk as it is after every request of a story, and after draws
// of what an unflushed cache may leave of the last ones, and judges each. Several
// workers do that, each on a disk of its own.
type replay struct {
	w      *workshop
	r      *recording
	ctx    context.Context //nolint:containedctx // of machines, which outlive the replay
	plan   plan
	judge  *judge
	tally  *tally
	seed   maphash.Seed
	claims atomic.Int64 // numbers of requests that somebody judges, or has judged
}

// worker is one that replays: its disk is as after so many requests.
type worker struct {
	*replay
	disk     *disk
	node     *node
	requests int
	open     []int // writes that no flush has covered; undo takes them back
}

func (p *replay) work(ctx context.Context, dir string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	k := &worker{replay: p}
	if k.disk, err = newDisk(dir, p.r.image.Path, p.seed); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.disk.close()) }()
	if k.node, err = newNode(filepath.Join(dir, "node"), k.disk, p.w.lab.Agent, p.r); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.node.close()) }()
	for {
		n := int(p.claims.Add(1) - 1)
		if n > len(p.r.requests) {
			return nil
		}
		for k.requests < n {
			if err := k.step(); err != nil {
				return err
			}
		}
		if err := k.judgeAll(ctx); err != nil {
			return err
		}
	}
}

// step brings the disk one request further.
func (k *worker) step() error {
	n, q := k.requests, k.r.requests[k.requests]
	k.requests++
	if q.flush {
		k.open = k.open[:0]
		k.disk.keep()
	}
	if q.size == 0 {
		return nil
	}
	if err := k.r.apply(k.disk, whole(n, q)); err != nil {
		return err
	}
	if q.fua && len(k.open) == 0 {
		k.disk.keep()
	} else if !q.fua {
		k.open = append(k.open, n)
	}
	return nil
}

// judgeAll judges what a power cut may leave now.
func (k *worker) judgeAll(ctx context.Context) error {
	c := cut{story: &k.r.story, requests: k.requests}
	if k.w.wanted(c) {
		if err := k.try(ctx, c); err != nil {
			return err
		}
		k.tally.add(func() { k.tally.writes++ })
	}
	for draw := 1; draw <= k.plan.draws[k.requests] && len(k.open) > 0; draw++ {
		c := cut{story: &k.r.story, requests: k.requests, draw: draw}
		if !k.w.wanted(c) {
			continue
		}
		if err := k.draw(ctx, c); err != nil {
			return err
		}
		k.tally.add(func() { k.tally.draws++ })
	}
	return nil
}

// try judges the disk as it is now.
func (k *worker) try(ctx context.Context, c cut) error {
	h := &hearing{judge: k.judge, disk: k.disk, node: k.node, cut: c}
	if k.w.save != "" {
		if err := copyAll(k.disk.file.Name(), k.w.save); err != nil {
			return err
		}
	}
	err := h.try(ctx)
	if err == nil && k.plan.updated[c.String()] {
		err = h.onward(ctx)
		k.tally.add(func() { k.tally.updates++ })
	}
	if err == nil && k.plan.booted[c.String()] {
		err = k.bootWhole(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("case %s: %w", c, err)
	}
	k.tally.add(func() {
		k.tally.violations = append(k.tally.violations, h.found...)
		k.tally.asked += h.asked
		k.tally.forgot += h.forgot
	})
	return nil
}

// draw judges one draw, and leaves the disk as it was.
func (k *worker) draw(ctx context.Context, c cut) error {
	rng := rand.New(rand.NewPCG(k.w.seed, uint64(c.requests)<<20|uint64(c.draw))) //nolint:gosec // to be drawn again
	c.pieces = drawPieces(rng, c.story.requests, k.open)
	// First what is there of them goes, then the pieces come. Requests behind the
	// last flush that are on the disk for good (FUA) stay.
	if err := k.disk.undo(0); err != nil {
		return err
	}
	if err := c.story.applyAll(k.disk, k.open[0], c.requests, func(q request) bool { return q.fua }); err != nil {
		return err
	}
	for _, p := range c.pieces {
		if err := c.story.apply(k.disk, p); err != nil {
			return err
		}
	}
	if err := k.try(ctx, c); err != nil {
		return err
	}
	if err := k.disk.undo(0); err != nil {
		return err
	}
	return c.story.applyAll(k.disk, k.open[0], c.requests, func(request) bool { return true })
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

// wanted reports whether a case is to be tried: all, or the one that was asked for.
func (w *workshop) wanted(c cut) bool { return w.only == "" || w.only == c.String() }
