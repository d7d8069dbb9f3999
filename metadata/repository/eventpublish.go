package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/storage"
)

// EventPublished is what the publication of an event did.
type EventPublished struct {
	Changed  bool     `json:"changed"` // false: it was published already
	Written  []string `json:"written"` // the roles, in the order of writing
	Versions Versions `json:"versions"`
}

// PublishEvent makes an event the state that readers see. keys must hold those
// of snapshot and timestamp, and those of delegated roles that are to be signed
// again because their keys have changed; where the keys of snapshot or timestamp
// themselves change, it takes the new ones, and the old ones too where they are
// there (see the package comment). All is signed and checked before anything is
// written.
//
// An event that does not start from what is published is refused with
// ReasonConflict, one without enough signatures with ReasonUnsigned. If it is cut
// short, doing it again completes it.
func (r *Repository) PublishEvent(ctx context.Context, ev *Event, keys Signers) (*EventPublished, error) {
	if ev.New() {
		return nil, refuse(ReasonExists, "name another place, or propose changes to this repository", "event: it makes a new repository, and there is one in %s", r.store)
	}
	if err := ev.checkReady(r.clock()); err != nil {
		return nil, err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	e, err := r.startPublication(ctx, ev)
	if err != nil {
		return nil, err
	}
	return e.publishEvent(ctx, keys)
}

func (e *Edit) publishEvent(ctx context.Context, keys Signers) (*EventPublished, error) {
	result := &EventPublished{Changed: len(e.changed) > 0, Written: []string{}}
	if result.Changed {
		for _, role := range e.follow() {
			result.Written = append(result.Written, role.name)
		}
	}
	var err error
	result.Versions, err = e.Commit(ctx, keys)
	return result, err
}

// checkReady reports whether clients would take the event now.
func (e *Event) checkReady(now time.Time) error {
	if err := e.checkComplete(); err != nil {
		return err
	}
	expired := func(role string, at time.Time) error {
		if at.After(now) {
			return nil
		}
		return &InvalidError{Reason: "metadata-expired", Err: fmt.Errorf("event: the new %s has expired on %s", role, at.Format(time.RFC3339))}
	}
	if e.root != nil {
		if err := expired(Root, e.root.Signed.Expires); err != nil {
			return err
		}
	}
	if e.targets != nil {
		return expired(Targets, e.targets.Signed.Expires)
	}
	return nil
}

func conflict(format string, args ...any) error {
	return refuse(ReasonConflict, "propose the change again, from what is published now, and sign that", "event: "+format, args...)
}

// startPublication returns an edit that has taken on what the event changes and
// what of it is not published yet.
func (r *Repository) startPublication(ctx context.Context, ev *Event) (*Edit, error) {
	from, err := r.pinnedReader(ctx)
	if err != nil {
		return nil, err
	}
	was, err := r.before(ctx)
	if err != nil {
		return nil, err
	}
	root, _, err := loadRoot(ctx, from, 0)
	if err != nil {
		return nil, err
	}
	rootDone := ev.root != nil && samePayload(root, ev.root)
	if !rootDone && !samePayload(root, ev.baseRoot) {
		return nil, conflict("it starts from root version %d, and version %d is published, or another one", ev.baseRoot.Signed.Version, root.Signed.Version)
	}
	st, err := loadUnder(ctx, r.store, root)
	torn := err != nil && rootDone // the timestamp of the old keys is still there
	if torn {
		if old, oldErr := loadUnder(ctx, r.store, ev.baseRoot); oldErr == nil {
			st, err = old, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if err := was.check(ctx, st); err != nil {
		return nil, err
	}
	e := r.newEdit(st, func() {})
	e.published, e.earlier = st.root, was
	targetsDone := ev.targets == nil || samePayload(st.targets(), ev.targets)
	if !targetsDone && !samePayload(st.targets(), ev.baseTargets) {
		return nil, conflict("it starts from targets version %d, and version %d is published, or another one", ev.baseTargets.Signed.Version, st.targets().Signed.Version)
	}
	switch {
	case torn:
		e.finishRoot(root)
	case ev.root != nil && !rootDone:
		e.adoptRoot(ev.root)
	}
	if !targetsDone {
		return e, e.adoptTargets(ctx, ev.targets)
	}
	if e.state.root.VerifyDelegate(Targets, e.state.targets()) != nil {
		return nil, conflict("the published targets are not signed by enough of the new keys")
	}
	return e, nil
}

// adoptRoot takes on a root that was signed elsewhere.
func (e *Edit) adoptRoot(root *tuf.Metadata[tuf.RootType]) {
	e.gap = verifyTop(root, e.state.timestamp, e.state.snapshot, e.state.targets()) != nil
	e.changed[Root], e.signed[Root] = true, true
	e.takeRoot(root)
}

// finishRoot takes on a root that readers have already, while the timestamp
// that they have verifies only under the one before.
func (e *Edit) finishRoot(root *tuf.Metadata[tuf.RootType]) {
	e.changed[Timestamp] = true
	e.takeRoot(root)
}

func (e *Edit) takeRoot(root *tuf.Metadata[tuf.RootType]) {
	if root.VerifyDelegate(Snapshot, e.state.snapshot) != nil {
		e.changed[Snapshot] = true
	}
	e.state.root = root
}

// signedBefore returns targets, or what an unfinished publication of it has
// written: the same content, with perhaps fewer signatures. A file, once
// written, never changes.
func (e *Edit) signedBefore(ctx context.Context, targets *tuf.Metadata[tuf.TargetsType]) (*tuf.Metadata[tuf.TargetsType], error) {
	name := versionedFile(Targets, targets.Signed.Version)
	data, _, err := storage.ReadFile(ctx, e.repo.store, name, maxMetadata)
	if errors.Is(err, fs.ErrNotExist) {
		return targets, nil
	} else if err != nil {
		return nil, err
	}
	there, err := parse[tuf.TargetsType](data)
	if err != nil || !samePayload(there, targets) || e.state.root.VerifyDelegate(Targets, there) != nil {
		return nil, conflict("there is another %s already", name)
	}
	return there, nil
}

// CreateFromEvent makes the repository that an event of [ProposeNew] describes.
// keys must hold those of snapshot, timestamp, channels and releases. A place
// that holds another repository is refused with ReasonExists; what a crash left
// half made is completed.
func CreateFromEvent(ctx context.Context, store storage.Store, ev *Event, keys Signers, opts Options) (*EventPublished, error) {
	r := newRepository(store, opts)
	if !ev.New() {
		return nil, refuse(ReasonNotRepository, "name the repository that it changes", "event: it changes a repository, and there is none in %s", store)
	}
	if err := ev.checkReady(r.clock()); err != nil {
		return nil, err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if st, err := load(ctx, store); err == nil {
		first, _, err := loadRoot(ctx, store, 1)
		if err == nil && samePayload(first, ev.root) {
			return &EventPublished{Written: []string{}, Versions: st.versions()}, nil
		}
	}
	e := r.newEdit(ev.newState(store), func() {})
	e.changed[Root], e.signed[Root], e.signed[Targets] = true, true, true
	for name := range e.state.roles {
		e.changed[name] = true
	}
	if err := checkUnused(ctx, store, ev.root); err != nil {
		return nil, err
	}
	if err := e.adoptFirstTargets(ctx); err != nil {
		return nil, err
	}
	return e.publishEvent(ctx, keys)
}

// newState returns the state of a repository of which only root and targets are
// made.
func (e *Event) newState(from storage.Reader) *state {
	st := &state{from: from, root: e.root, snapshot: tuf.Snapshot(), timestamp: tuf.Timestamp(), roles: make(map[string]*targetsRole)}
	st.snapshot.Signed.Version, st.timestamp.Signed.Version = 0, 0
	st.roles[Targets] = &targetsRole{Targets, Root, e.targets}
	for _, name := range children(st.roles[Targets]) {
		md := tuf.Targets()
		md.Signed.Version = 0
		st.roles[name] = &targetsRole{name, Targets, md}
	}
	return st
}

// adoptFirstTargets takes on what a crash has left of the same first targets.
// Another one is removed: without a timestamp nobody can have read it.
func (e *Edit) adoptFirstTargets(ctx context.Context) error {
	md, err := e.signedBefore(ctx, e.state.targets())
	var refused *RefusedError
	if errors.As(err, &refused) {
		return e.repo.store.Remove(ctx, versionedFile(Targets, 1))
	} else if err != nil {
		return err
	}
	e.state.roles[Targets].md = md
	return nil
}
