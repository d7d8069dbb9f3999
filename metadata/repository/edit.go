package repository

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// Versions are the versions of the top-level roles' metadata.
type Versions struct {
	Root      int64 `json:"root"`
	Targets   int64 `json:"targets"`
	Snapshot  int64 `json:"snapshot"`
	Timestamp int64 `json:"timestamp"`
}

// Edit is a change in the making, by the one writer that holds the lock.
// Nothing of it is visible to readers until [Edit.Commit]. End it with Close.
type Edit struct {
	repo  *Repository
	state *state
	// published is the root that readers have now; nil while there is none.
	published *tuf.Metadata[tuf.RootType]
	// gap says that what readers have now does not verify under the root that
	// they are about to get.
	gap bool
	// earlier is what was published once.
	earlier earlier
	signers map[string][]roleSigner
	changed map[string]bool // roles that Commit writes, besides those that follow
	signed  map[string]bool // of these: signed already, elsewhere
	unlock  func()
	turn    sync.Mutex // of the signers
}

// Edit locks the repository and starts a change. A repository that another
// process edits is refused with ReasonLocked.
func (r *Repository) Edit(ctx context.Context) (*Edit, error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	st, was, err := r.read(ctx)
	if err != nil {
		unlock()
		return nil, err
	}
	e := r.newEdit(st, unlock)
	e.published, e.earlier = st.root, was
	return e, nil
}

// read loads what is published, and makes sure that it is this repository, and no
// older than it was.
func (r *Repository) read(ctx context.Context) (*state, earlier, error) {
	from, err := r.pinnedReader(ctx)
	if err != nil {
		return nil, earlier{}, err
	}
	was, err := r.before(ctx)
	if err != nil {
		return nil, earlier{}, err
	}
	st, err := load(ctx, from)
	if err != nil {
		return nil, earlier{}, err
	}
	if err := was.check(ctx, st); err != nil {
		return nil, earlier{}, err
	}
	if err := was.checkWhole(ctx, st, r.store); err != nil {
		return nil, earlier{}, err
	}
	if name := was.unnamed(ctx, st); name != "" {
		r.logger.Warn("timestamp.json does not name this file: "+whyUnnamed, "file", name)
	}
	return st, was, nil
}

func (r *Repository) newEdit(st *state, unlock func()) *Edit {
	return &Edit{
		repo:    r,
		state:   st,
		signers: make(map[string][]roleSigner),
		changed: make(map[string]bool),
		signed:  make(map[string]bool),
		unlock:  unlock,
	}
}

// Close frees the lock. What was not committed is forgotten.
func (e *Edit) Close() { e.unlock() }

// UnlockFor gets the signers ready that a change of the given targets needs:
// passwords are asked for and missing keys are found out here, before long work
// starts.
func (e *Edit) UnlockFor(ctx context.Context, keys Signers, targets ...string) error {
	roles := []liveRole{{Snapshot, Root}, {Timestamp, Root}}
	for i, target := range targets {
		if i == 1 { // the first has loaded what leads to the bins
			if err := e.state.prefetch(ctx, targets); err != nil {
				return err
			}
		}
		role, err := e.state.home(ctx, target)
		if err != nil {
			return err
		}
		roles = append(roles, liveRole{role.name, role.parent})
	}
	return e.unlockRoles(ctx, keys, roles)
}

func (e *Edit) unlockRoles(ctx context.Context, keys Signers, roles []liveRole) error {
	for _, r := range roles {
		if e.signers[r.name] != nil || e.signed[r.name] {
			continue
		}
		signers, err := e.signersFor(ctx, keys, r)
		if err != nil {
			return err
		}
		for i := range signers {
			signers[i].turn = &e.turn
		}
		e.signers[r.name] = signers
	}
	return nil
}

// signersFor returns the signers for a role. While the root changes, those of
// the published root sign too where they are here: until readers have the new
// root, they must accept what is signed.
func (e *Edit) signersFor(ctx context.Context, keys Signers, r liveRole) ([]roleSigner, error) {
	a, err := e.state.authority(r.name, r.parent)
	if err != nil {
		return nil, err
	}
	signers, err := a.signers(ctx, keys)
	if err != nil || !e.rootChanges() || !isTopLevel(r.name) {
		return signers, err
	}
	before, err := rootAuthority(&e.published.Signed, r.name)
	if err != nil {
		return nil, err
	}
	old, err := before.available(ctx, keys)
	if err != nil {
		return nil, err
	}
	return union(signers, old), nil
}

func union(a, b []roleSigner) []roleSigner {
	seen := make(map[string]bool)
	for _, s := range a {
		seen[s.id] = true
	}
	for _, s := range b {
		if !seen[s.id] {
			a = append(a, s)
		}
	}
	return a
}

// rootChanges reports whether readers are about to get another root than the
// one that they have.
func (e *Edit) rootChanges() bool { return e.changed[Root] && e.published != nil }

// Target returns a target's length and hash, if the repository has it.
func (e *Edit) Target(ctx context.Context, name string) (metadata.Artifact, bool, error) {
	return e.state.target(ctx, name)
}

// ReadTarget returns the bytes of a small target (a manifest or channel file).
// Errors wrap [ErrNotFound] if the repository has no such target.
func (e *Edit) ReadTarget(ctx context.Context, name string) ([]byte, error) {
	return e.state.readTarget(ctx, name)
}

// AddBytes puts a small target into the repository.
func (e *Edit) AddBytes(ctx context.Context, target string, data []byte) (metadata.Artifact, error) {
	return e.add(ctx, target, storage.Bytes(data))
}

// add puts a target into the repository, hashing it on the way, in constant memory.
func (e *Edit) add(ctx context.Context, target string, open func() (io.ReadCloser, error)) (metadata.Artifact, error) {
	if err := metadata.CheckTarget(target); err != nil {
		return metadata.Artifact{}, err
	}
	sum, length, err := e.repo.store.Import(ctx, open, func(sum string) string { return targetFile(target, sum) })
	if err != nil {
		return metadata.Artifact{}, fmt.Errorf("target %s: %w", target, err)
	}
	return e.set(ctx, target, sum, length)
}

// set names a target whose bytes are there, in the role that it belongs to.
func (e *Edit) set(ctx context.Context, target, sum string, length int64) (metadata.Artifact, error) {
	hash, err := hex.DecodeString(sum)
	if err != nil {
		return metadata.Artifact{}, fmt.Errorf("target %s: hash: %w", target, err)
	}
	role, err := e.state.home(ctx, target)
	if err != nil {
		return metadata.Artifact{}, err
	}
	role.md.Signed.Targets[target] = &tuf.TargetFiles{
		Length: length,
		Hashes: tuf.Hashes{"sha256": hash},
		Path:   target,
	}
	e.changed[role.name] = true
	return metadata.Artifact{Target: target, Length: length, SHA256: sum}, nil
}

// Remove takes a target out of the signed metadata. Its bytes stay until
// [Repository.Prune]. That it is not there is no error.
func (e *Edit) Remove(ctx context.Context, target string) error {
	for {
		role, _, err := e.state.find(ctx, target)
		if role == nil || err != nil {
			return err
		}
		delete(role.md.Signed.Targets, target)
		e.changed[role.name] = true
	}
}

// tracked is a file that reports how far it has been read.
type tracked struct {
	*os.File
	watched
}

func (t *tracked) Read(p []byte) (int, error) { return t.watched.Read(p) }

// watched reports how far a reader has come.
type watched struct {
	r        io.Reader
	done     int64
	progress func(done int64)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.done += int64(n)
	if w.progress != nil && n > 0 {
		w.progress(w.done)
	}
	return n, err
}
