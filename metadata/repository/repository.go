package repository

import (
	"log/slog"
	"time"
)

// Options are what every command on a repository may set.
type Options struct {
	Now    func() time.Time // the clock; nil: time.Now
	Logger *slog.Logger     // what is written and why; nil: nowhere
}

// Repository is a repository in a folder. Its methods read what is published
// each time they are called; those that write take the repository's lock.
type Repository struct {
	dir    string
	store  store
	now    func() time.Time
	logger *slog.Logger
}

// Open returns the repository in a folder, after checking that there is one
// and that what is published verifies.
func Open(dir string, opts Options) (*Repository, error) {
	r := newRepository(dir, opts)
	if _, err := load(r.store); err != nil {
		return nil, err
	}
	return r, nil
}

func newRepository(dir string, opts Options) *Repository {
	r := &Repository{dir: dir, store: folder{dir}, now: opts.Now, logger: opts.Logger}
	if r.now == nil {
		r.now = time.Now
	}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	return r
}

// Dir returns the repository's folder.
func (r *Repository) Dir() string { return r.dir }

// clock returns the time in the form of TUF metadata: UTC, whole seconds
// (TUF specification, section 4.3).
func (r *Repository) clock() time.Time { return r.now().UTC().Truncate(time.Second) }
