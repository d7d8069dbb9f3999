package rehearsal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// Options are what a rehearsal needs to know besides the repository.
type Options struct {
	Now    func() time.Time // the publisher's clock; nil: time.Now
	Logger *slog.Logger     // what is no better after the publication; nil: nowhere
}

// New returns the rehearsal of publications, for repository.Options. Its errors
// are [*RefusalError] where a client would not go on, and else
// [*repository.UntriedError].
func New(opts Options) repository.Rehearsal {
	return func(ctx context.Context, steps []storage.Reader, past []repository.Past) error {
		r, done, err := newRehearsal(opts)
		if err == nil {
			defer done()
			err = r.publication(ctx, steps, past)
		}
		var refusal *RefusalError
		if err == nil || errors.As(err, &refusal) {
			return err
		}
		return &repository.UntriedError{Err: err}
	}
}

// RefusalError says which client could not go on, and where.
type RefusalError struct {
	Node  string // "a node that holds timestamp version 7"
	Stage string // "timestamp version 8"
	Err   error
}

func (e *RefusalError) Error() string {
	return e.Node + " does not get to " + e.Stage + ": " + e.Err.Error()
}
func (e *RefusalError) Unwrap() error { return e.Err }

// rehearsal is one run.
type rehearsal struct {
	now   time.Time
	clock string // what to say of now, where it is not the publisher's clock
	log   *slog.Logger
	dir   string // for the nodes' folders
	nodes atomic.Int64
	// before returns what a new node finds in what is published now; nil: nothing
	// is, or it does not matter. It is asked for when something is wrong only.
	before func() (*outcome, error)
}

// epoch is before everything: at that time nothing has expired.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

func newRehearsal(opts Options) (_ *rehearsal, done func(), err error) {
	now := time.Now
	if opts.Now != nil {
		now = opts.Now
	}
	r := &rehearsal{now: now().UTC(), log: opts.Logger}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.dir, err = scratch(); err != nil {
		return nil, nil, fmt.Errorf("folder for the rehearsal: %w", err)
	}
	return r, func() { os.RemoveAll(r.dir) }, nil
}

// scratch makes the folder for the nodes' folders: in memory where there is such
// a place, because a client forces each file to the device.
func scratch() (string, error) {
	const name = "tufboot-rehearsal-"
	if dir, err := os.MkdirTemp("/dev/shm", name); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", name)
}

// node returns a client with an empty folder, and what removes that.
func (r *rehearsal) node(name string, root []byte) (*node, func()) {
	dir := filepath.Join(r.dir, strconv.FormatInt(r.nodes.Add(1), 10))
	return &node{name: name, root: root, dir: dir}, func() { os.RemoveAll(dir) }
}

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
	// What the older roots lead to was tried when the newest was published.
	newRoot := true
	if len(stages) > 0 && len(past) > 0 {
		newRoot = int64(len(stages[len(stages)-1].roots)) != past[0].Root
		r.before = sync.OnceValues(func() (*outcome, error) { return r.lookBefore(ctx, stages[0], past[0]) })
		var err error
		if past, err = uncovered(ctx, stages, past); err != nil {
			return err
		}
	}
	var nodes []*node
	for _, p := range past {
		n, remove := r.node(nameOf(p), stages[0].roots[0])
		defer remove()
		if _, err := n.put(ctx, stages[0].from, p); err != nil {
			return err
		}
		n.held = n.holds()
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
	group.SetLimit(runtime.GOMAXPROCS(0) + 1)
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

// useClock sets the time to the latest that is known to have passed: the nodes'
// clocks have seen it.
func (r *rehearsal) useClock(past []repository.Past) {
	clock := r.now
	for i, p := range past {
		if i > 0 && p.Until.After(r.now) { // the first of them ends now
			r.now = p.Until.UTC()
			r.clock = fmt.Sprintf("this machine's clock says %s, but timestamp version %d was replaced at %s (if that clock was wrong, remove %d.json from the history once)",
				clock.Format(time.RFC3339), p.Version(), r.now.Format(time.RFC3339), p.Version())
		}
	}
}
