package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/storage"
)

// Options are what every command on a repository may set.
type Options struct {
	Now    func() time.Time // the clock; nil: time.Now
	Logger *slog.Logger     // what is written and why; nil: nowhere
	// Pinned are roots that the repository must hold, byte for byte. Without one,
	// whoever can replace the whole repository by one of his own could have that
	// signed with our keys.
	Pinned [][]byte
	// Remember are files outside the repository, beside the keys, in which it is
	// written down what was published last: whoever can replace the whole repository
	// could have an older state of it signed again. One that cannot be written is no
	// error, and remembers nothing.
	Remember []string
	// Rehearse, unless nil, tries what a command is about to publish, as clients
	// will see it; an error stops the command before readers see anything.
	Rehearse Rehearsal
}

// Repository is a repository in a store. Its methods read what is published
// each time they are called; those that write take the store's lock.
type Repository struct {
	store    storage.Store
	now      func() time.Time
	logger   *slog.Logger
	rehearse Rehearsal
	pinned   [][]byte
	remember []string
}

// Open returns the repository in a store, after checking that there is one. What
// is published is verified by each method that reads it.
func Open(ctx context.Context, store storage.Store, opts Options) (*Repository, error) {
	if _, err := store.Stat(ctx, versionedFile(Root, 1)); errors.Is(err, fs.ErrNotExist) {
		return nil, refuse(ReasonNotRepository, "make one with init, or correct the path",
			"no %s in %s: not a repository", versionedFile(Root, 1), store)
	} else if err != nil {
		return nil, err
	}
	return newRepository(store, opts), nil
}

func newRepository(store storage.Store, opts Options) *Repository {
	r := &Repository{store: store, now: opts.Now, logger: opts.Logger, rehearse: opts.Rehearse, pinned: opts.Pinned, remember: opts.Remember}
	if r.now == nil {
		r.now = time.Now
	}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	return r
}

// Place names where the repository lies, for people.
func (r *Repository) Place() string { return r.store.String() }

// clock returns the time in the form of TUF metadata: UTC, whole seconds
// (TUF specification, section 4.3).
func (r *Repository) clock() time.Time { return r.now().UTC().Truncate(time.Second) }

// lock takes the lock of a store that is to be published in. A bundle is no place to write to: it is a part of
// the repository that it was made from, and would become a fork of that.
func (r *Repository) lock(ctx context.Context) (func(), error) {
	bundle, err := ReadBundled(ctx, r.store)
	if bundle != nil {
		return nil, refuse(ReasonBundle, "publish in the repository, then make the bundle anew; if this is the repository, somebody put "+bundleFile+" there: remove it",
			"%s holds a bundle, a copy that is only read", r.store)
	} else if err != nil {
		r.logger.Warn("a file is no part of the repository, and can be removed", "file", bundleFile, "cause", err)
	}
	return r.lockAny(ctx)
}

// lockAny takes the store's lock, whatever the store holds.
func (r *Repository) lockAny(ctx context.Context) (func(), error) {
	unlock, err := r.store.Lock(ctx)
	if errors.Is(err, storage.ErrLocked) {
		return nil, refuse(ReasonLocked, "wait for the other command to end, then run this one again; --wait does that",
			"repository %s: %w", r.store, err)
	}
	return unlock, err
}

// pinnedReader returns the store as it must be to be signed for: with the roots
// that the caller knows in their places, whatever the store says later, so that
// the row of roots goes through them. It is an error if they are not there now.
func (r *Repository) pinnedReader(ctx context.Context) (storage.Reader, error) {
	files := make(map[string][]byte, len(r.pinned))
	for _, data := range r.pinned {
		root, err := parse[tuf.RootType](data)
		if err != nil {
			return nil, fmt.Errorf("the root that the keys belong to: %w", err)
		}
		name := versionedFile(Root, root.Signed.Version)
		there, _, err := readPublished(ctx, r.store, name, maxMetadata)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if !bytes.Equal(there, data) {
			return nil, &InvalidError{Reason: ReasonWrongRoot, Err: fmt.Errorf(
				"%s in %s is not the root.json that lies beside the keys: this is another repository, or somebody has put one of his own in its place; nothing was signed", name, r.store)}
		}
		files[name] = data
	}
	return &preview{r.store, files}, nil
}
