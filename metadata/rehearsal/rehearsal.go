package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

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
	const memory, name, stale = "/dev/shm", "tufboot-rehearsal-", time.Hour
	// What a run left that was killed takes up memory.
	left, _ := filepath.Glob(filepath.Join(memory, name+"*"))
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > stale {
			_ = os.RemoveAll(dir) // somebody else's, perhaps
		}
	}
	if dir, err := os.MkdirTemp(memory, name); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", name)
}

// node returns a client with an empty folder, and what removes that.
func (r *rehearsal) node(name string, root []byte) (*node, func()) {
	dir := filepath.Join(r.dir, strconv.FormatInt(r.nodes.Add(1), 10))
	return &node{name: name, root: root, dir: dir}, func() { os.RemoveAll(dir) }
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
