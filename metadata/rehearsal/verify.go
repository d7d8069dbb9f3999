package rehearsal

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"tufboot/metadata/client"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// VerifyOptions say which clients to try.
type VerifyOptions struct {
	Options
	// Root is the root that nodes are built with; nil: each version that the
	// repository has.
	Root []byte
	// Progress, if not nil, is told how many of the past states are done.
	Progress func(done, total int64)
}

// Verified is what all clients agreed on.
type Verified struct {
	// Roots are the versions of root.json that new nodes were built with.
	Roots []int64 `json:"roots"`
	// Past are the versions of the timestamps that nodes came from.
	Past []int64 `json:"past"`
	// Incomplete are those of them that files are missing of: pruned, or lost.
	Incomplete []int64 `json:"incomplete,omitempty"`
	// History says whether past states can be known: a web server has no list.
	History bool `json:"history"`
	// Channels are those that every node found a release in.
	Channels []string `json:"channels"`
}

// Verify reads a repository as new nodes would, and as nodes would that hold any
// of its past states. Errors are [*RefusalError], or those of the store.
func Verify(ctx context.Context, from storage.Reader, opts VerifyOptions) (*Verified, error) {
	r, done, err := newRehearsal(opts.Options)
	if err != nil {
		return nil, err
	}
	defer done()
	s, err := newStage(ctx, from, r.now)
	if err != nil {
		return nil, err
	}
	s.name = "what is published"
	result := &Verified{Roots: []int64{}, Past: []int64{}, Channels: []string{}}
	if err := r.verifyNew(ctx, s, opts.Root, result); err != nil {
		return nil, err
	}
	channels, err := s.channels()
	if err != nil {
		return nil, err
	}
	for _, c := range channels {
		result.Channels = append(result.Channels, c.Name)
	}
	if l, ok := from.(repository.Listable); ok {
		result.History = true
		err = r.verifyPast(ctx, l, s, opts.Progress, result)
	}
	return result, err
}

func (r *rehearsal) verifyNew(ctx context.Context, s *stage, root []byte, result *Verified) error {
	if root != nil {
		if err := r.tryFirst(ctx, s, "a new node with the given root", root); err != nil {
			return err
		}
		trust, err := client.LocalTrust(client.Options{Root: root, Dir: r.dir})
		result.Roots = append(result.Roots, trust.BuiltInRoot)
		return err
	}
	if err := r.tryFirst(ctx, s, newNode(1), s.roots[0]); err != nil {
		return err
	}
	for i := range s.roots {
		result.Roots = append(result.Roots, int64(i+1))
	}
	return r.tryRoots(ctx, s)
}

func (r *rehearsal) verifyPast(ctx context.Context, from repository.Listable, s *stage, progress func(done, total int64), result *Verified) error {
	past, err := repository.History(ctx, from, 0)
	if err != nil {
		return err
	}
	errs := make([]error, len(past))
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range past {
		group.Go(func() error {
			complete, err := r.verifyFrom(ctx, s, p)
			errs[i] = err
			mu.Lock()
			defer mu.Unlock()
			result.Past = append(result.Past, p.Version())
			if !complete {
				result.Incomplete = append(result.Incomplete, p.Version())
			}
			if progress != nil {
				progress(int64(len(result.Past)), int64(len(past)))
			}
			return nil
		})
	}
	_ = group.Wait() // of which none fails
	slices.Sort(result.Past)
	slices.Sort(result.Incomplete)
	return firstOf(errs)
}

// verifyFrom lets a node get to a past state, and from there to what is
// published.
func (r *rehearsal) verifyFrom(ctx context.Context, s *stage, past repository.Past) (complete bool, err error) {
	n, remove := r.node(nameOf(past), s.roots[0])
	defer remove()
	channels, err := s.known()
	if err != nil {
		return false, err
	}
	if complete, err = n.get(ctx, s.from, past, channels); err != nil {
		return complete, err
	}
	n.held = n.holds()
	v, err := n.look(ctx, s.from, s.now, channels, false)
	return complete, r.judge(ctx, n, s, v, err)
}

// get lets the node get to a past state by itself, and resolve the channels
// there. Nothing but expiry depends on the time, and nothing must be missed by
// that, so it happens before everything. complete is false if it does not get
// there in full: old files may be gone.
func (n *node) get(ctx context.Context, from storage.Reader, past repository.Past, channels []repository.PublishedChannel) (complete bool, err error) {
	_, err = n.look(ctx, repository.AsOf(from, past), epoch(), channels, false)
	if err != nil && !isRefusal(err) {
		return false, err
	}
	return err == nil, nil
}
