package repository

import (
	"context"
	"log/slog"
	"time"

	"tufboot/metadata/storage"
)

// Reason codes of refusals to copy a repository.
const (
	ReasonSourceOlder = "source-is-older" // the destination has newer metadata than the source
	ReasonFork        = "forked"          // the same version with two contents
)

// MirrorOptions say how to copy a repository.
type MirrorOptions struct {
	Options
	// Root is the root that is trusted. nil: the one that the destination has;
	// if it has none, version 1 of the source, which is to trust the source.
	Root []byte
	// AllowExpired copies a source although clients refuse it for its age.
	AllowExpired bool
	// Full looks at every file at the destination, and not only at those that are
	// new since what it shows now.
	Full bool
	// Parallel is how many files are copied at once; 0: 4.
	Parallel int
	// Progress, if not nil, is told how many bytes of the targets that are new
	// are done. It is called by one goroutine at a time.
	Progress func(done, total int64)
}

// Mirrored is what Mirror did.
type Mirrored struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Changed bool   `json:"changed"` // false: the destination shows the same already
	Targets int    `json:"targets"` // copied
	Bytes   int64  `json:"bytes"`   // copied, of targets
	Roots   int    `json:"roots"`   // new versions of root.json
	// Bridges are past states that were shown on the way, so that readers always
	// had a state that their root vouches for.
	Bridges  int      `json:"bridges"`
	Versions Versions `json:"versions"`
}

// Mirror copies a repository to another place, with its whole row of roots, and
// verifies it on the way: nothing that its signatures, hashes and lengths do not
// vouch for becomes visible there. It needs no keys.
//
// # Order
//
// First all that is new: targets, under names that hold their hash, and numbered
// metadata. Readers know none of it yet. Then, quickly one after the other, new
// versions of root.json and timestamp.json. A crash at any write leaves what was
// there for readers; the next run goes on. A file that is there under its
// hashed or numbered name is not copied again.
//
// # When keys change
//
// Readers walk to the newest root that is there and then read timestamp.json. So
// at every moment the timestamp that is shown must verify under the newest root
// that is shown. A publisher who still has the old keys signs the state in which
// the keys change with both (a bridge). If the source still shows a state
// of that kind, or has it among its past states (.tufboot/history, which web
// servers do not hand out), then that is shown before the root, and there is no
// moment at which a reader fails. If not, a warning is logged, and a reader
// fails that comes between the writing of the root and of the timestamp, or a
// crash between them, until the next run: they are the last two files written,
// one after the other. In either case a reader that had read the roots just
// before, and reads the timestamp just after, may fail once; it succeeds when it
// tries again.
//
// # Never backwards
//
// A source that is older than the destination, or that has other content under
// the same version, is refused, with ReasonSourceOlder or ReasonFork. What
// timestamp and snapshot keys have signed is no floor any more when a new root
// has taken them away, as for clients (TUF specification, section 5.3.11).
//
// # Cost
//
// What the destination shows is taken as whole, because it was written in this
// order: only roles that have changed are read, and only targets that are new in
// them are looked for. Full looks for all. A bucket reads each new target
// twice from the source.
func Mirror(ctx context.Context, from storage.Reader, to storage.Store, opts MirrorOptions) (*Mirrored, error) {
	m := newMirror(from, to, opts)
	unlock, err := newRepository(to, opts.Options).lockAny(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	const tries = 3
	for try := 1; ; try++ {
		result, err := m.run(ctx)
		if err == nil || try == tries || !m.overtaken(ctx, err) {
			return result, err
		}
		m.logger.Info("the source has changed meanwhile: starting over", "cause", err)
	}
}

// mirror is one run of Mirror.
type mirror struct {
	from   storage.Reader
	to     storage.Store
	opts   MirrorOptions
	now    func() time.Time
	logger *slog.Logger
	bundle bool // the destination is to hold a bundle
	// begun is the timestamp of the source that this run started from.
	begun []byte
}

const defaultParallel = 4

func newMirror(from storage.Reader, to storage.Store, opts MirrorOptions) *mirror {
	m := &mirror{from: from, to: to, opts: opts, now: opts.Now, logger: opts.Logger}
	if m.now == nil {
		m.now = time.Now
	}
	if m.logger == nil {
		m.logger = slog.New(slog.DiscardHandler)
	}
	if m.opts.Parallel <= 0 {
		m.opts.Parallel = defaultParallel
	}
	return m
}

func (m *mirror) run(ctx context.Context) (*Mirrored, error) {
	there, err := m.destination(ctx)
	if err != nil {
		return nil, err
	}
	now, err := m.source(ctx, there.row)
	if err != nil {
		return nil, err
	}
	if err := there.checkForward(now); err != nil {
		return nil, err
	}
	result := &Mirrored{From: m.from.String(), To: m.to.String(), Versions: now.versions()}
	steps, err := m.plan(ctx, there, now)
	if err != nil {
		return nil, err
	}
	result.Changed = len(steps) > 0
	if !result.Changed && m.opts.Full {
		steps = []mirrorStep{{state: now}} // to be compared, not shown
	}
	if err := m.copyAll(ctx, there, steps, result); err != nil {
		return nil, err
	}
	if !result.Changed {
		return result, nil
	}
	return result, m.show(ctx, there, steps, result)
}
