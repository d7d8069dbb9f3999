package rehearsal

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// publication tries the steps of a publication.
func (r *rehearsal) publication(ctx context.Context, steps []storage.Reader, past []repository.Past) error {
	r.useClock(past)
	var stages []*stage
	for i, from := range steps {
		s, err := newStage(ctx, from, r.now)
		if err != nil {
			return err
		}
		s.passing = i < len(steps)-1 && len(past) > 0 && bytes.Equal(s.timestamp, past[0].Timestamp)
		stages = append(stages, s)
	}
	if len(stages) == 0 {
		return nil
	}
	if len(past) == 0 {
		return r.tryAll(ctx, stages, nil, true)
	}
	// What the older roots lead to was tried when the newest was published.
	newRoot := int64(len(stages[len(stages)-1].roots)) != past[0].Root
	r.before = sync.OnceValues(func() (*outcome, error) { return r.lookBefore(ctx, stages[0], past[0]) })
	var older []repository.Past
	var group errgroup.Group
	group.Go(func() (err error) {
		older, err = uncovered(ctx, stages, past)
		return err
	})
	err := r.tryAll(ctx, stages, past[:1], newRoot)
	if waitErr := group.Wait(); err == nil {
		err = waitErr
	}
	if err != nil {
		return err
	}
	return r.tryOlder(ctx, stages, older)
}

// tryAll lets new nodes go through the stages, and nodes that hold past states.
func (r *rehearsal) tryAll(ctx context.Context, stages []*stage, past []repository.Past, newRoot bool) error {
	var nodes []*node
	for _, p := range past {
		n, remove, err := r.holder(ctx, stages[0], p)
		if err != nil {
			return err
		}
		defer remove()
		nodes = append(nodes, n)
	}
	for _, s := range stages {
		if err := r.try(ctx, s, nodes); err != nil {
			return err
		}
		if newRoot {
			if err := r.tryRoots(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// holder returns a node that holds a past state, and what removes it.
func (r *rehearsal) holder(ctx context.Context, s *stage, p repository.Past) (*node, func(), error) {
	n, remove := r.node(nameOf(p), s.roots[0])
	if _, err := n.put(ctx, s.from, p); err != nil {
		remove()
		return nil, nil, err
	}
	n.held = n.holds()
	return n, remove, nil
}

// try lets a new node look at a stage, and at the same time nodes that hold
// something.
func (r *rehearsal) try(ctx context.Context, s *stage, nodes []*node) error {
	type result struct {
		visit *visit
		err   error
	}
	results := make([]result, len(nodes))
	now := s.now
	var first error
	var group errgroup.Group
	group.Go(func() error { _, _ = s.channels(); return nil }) // needed soon
	group.Go(func() error { first = r.tryFirst(ctx, s, newNode(1), s.roots[0]); return nil })
	for i, n := range nodes {
		group.Go(func() error {
			results[i].visit, results[i].err = n.refresh(ctx, s.from, now)
			return nil
		})
	}
	_ = group.Wait() // of which none fails
	if first != nil {
		return first
	}
	for i, n := range nodes {
		v, err := results[i].visit, results[i].err
		if isExpired(err) && !s.now.Equal(now) {
			v, err = n.refresh(ctx, s.from, s.now)
		}
		if err := r.judge(ctx, n, s, v, err); err != nil {
			return err
		}
	}
	return nil
}

// tryOlder lets nodes go through the stages, after new ones have.
func (r *rehearsal) tryOlder(ctx context.Context, stages []*stage, past []repository.Past) error {
	errs := make([]error, len(past))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range past {
		group.Go(func() error {
			n, remove, err := r.holder(ctx, stages[0], p)
			if err != nil {
				errs[i] = err
				return nil
			}
			defer remove()
			for _, s := range stages {
				v, err := n.refresh(ctx, s.from, s.now)
				if errs[i] = r.judge(ctx, n, s, v, err); errs[i] != nil {
					break
				}
			}
			return nil
		})
	}
	_ = group.Wait() // of which none fails
	return firstOf(errs)
}

// tryRoots lets new nodes look at a stage, one from each root but the first.
func (r *rehearsal) tryRoots(ctx context.Context, s *stage) error {
	if s.want == nil {
		return nil
	}
	errs := make([]error, len(s.roots))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := 1; i < len(s.roots); i++ {
		group.Go(func() error {
			n, remove := r.node(newNode(i+1), s.roots[i])
			defer remove()
			v, err := n.refresh(ctx, s.from, s.now)
			errs[i] = r.judge(ctx, n, s, v, err)
			return nil
		})
	}
	_ = group.Wait() // of which none fails
	return firstOf(errs)
}

func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func newNode(root int) string { return fmt.Sprintf("a new node with root version %d", root) }

func nameOf(p repository.Past) string {
	return fmt.Sprintf("a node that holds timestamp version %d (published until %s)", p.Version(), p.Until.UTC().Format(time.RFC3339))
}
