package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/storage"
)

// ReasonUnsupported is the reason code of a [RefusedError] about a repository
// made by another tool that holds what this one could not keep.
const ReasonUnsupported = "unsupported-repository"

// ImportOptions say how to take over a repository that another tool has made.
type ImportOptions struct {
	Options
	// Keys are the private keys: of the old root as many as its threshold asks
	// for, those of the other top-level roles that keep their keys, and those
	// of Roles.
	Keys Signers
	// Roles are the keys that roles get: Releases and Channels, to which targets
	// is made to delegate, and those top-level roles whose keys are replaced.
	// Other roles keep the keys that they have, under the ids that they have.
	Roles map[string]RoleKeys
	// Policy of the top-level roles. One that is not named keeps what root.json
	// says, or what tuf-on-ci has written there, else it gets DefaultPolicy.
	Policy Policy
	// Progress, if not nil, is told how many of all targets' bytes are copied.
	Progress func(done, total int64)
}

// Imported is what Import did.
type Imported struct {
	From     string   `json:"from"`
	Roots    int64    `json:"roots"`   // the old root versions, which are kept
	Targets  int      `json:"targets"` // that were listed, and still are
	Bytes    int64    `json:"bytes"`   // of these
	Versions Versions `json:"versions"`
}

// Import takes over the repository that lies at from, whatever TUF tool has
// made it: to gets its chain of roots byte for byte, its targets, and one
// version of its own on top, with consistent snapshots and a delegation to each
// of Releases and Channels. So clients that trust any of the old roots walk on
// into the new repository. Nothing at from is changed.
//
// The step from the old root needs signatures by the old root's threshold.
// Without the keys it is refused with ReasonNotEnoughKeys; what could not be
// kept as it is, with ReasonUnsupported; a place that is in use, with
// ReasonExists. An import that a crash cut short is completed by the next one.
func Import(ctx context.Context, from storage.Reader, to storage.Store, opts ImportOptions) (*Imported, error) {
	im := &importer{repo: newRepository(to, opts.Options), from: &foreign{Reader: from}, opts: opts}
	result, err := im.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("take over %s: %w", from, err)
	}
	return result, nil
}

// importer is one import.
type importer struct {
	repo   *Repository
	from   *foreign
	opts   ImportOptions
	roots  rootRow // the old chain
	old    *tuf.Metadata[tuf.RootType]
	edit   *Edit
	roles  []liveRole // the old targets roles
	copies []copied
}

func (im *importer) run(ctx context.Context) (*Imported, error) {
	if err := im.load(ctx); err != nil {
		return nil, err
	}
	unlock, err := im.repo.lock(ctx)
	if err != nil {
		return nil, err
	}
	im.edit.unlock = unlock
	defer im.edit.Close()
	if err := im.checkPlace(ctx); err != nil {
		return nil, err
	}
	past := Past{Root: im.old.Signed.Version, Timestamp: im.edit.state.timestampData, Until: im.repo.clock()}
	pastVersion := im.edit.state.timestamp.Signed.Version
	metadata, err := im.oldMetadata(ctx)
	if err != nil {
		return nil, err
	}
	if err := im.change(ctx); err != nil {
		return nil, err
	}
	result := &Imported{From: im.from.String(), Roots: im.old.Signed.Version, Targets: len(im.copies)}
	if result.Bytes, err = im.copyTargets(ctx); err != nil {
		return nil, err
	}
	if err := im.copyMetadata(ctx, metadata); err != nil {
		return nil, err
	}
	if err := im.rememberOld(ctx, past, pastVersion); err != nil {
		return nil, err
	}
	result.Versions, err = im.edit.Commit(ctx, im.opts.Keys)
	return result, err
}

// load reads and verifies the old repository: every step of its roots, as
// clients take them, and all that is published now.
func (im *importer) load(ctx context.Context) error {
	if err := im.from.find(ctx); err != nil {
		return err
	}
	var err error
	if im.roots, err = im.roots.follow(ctx, im.from); err != nil {
		return err
	}
	im.old = im.roots.newest()
	im.from.consistent = im.old.Signed.ConsistentSnapshot
	st, err := load(ctx, im.from)
	if err != nil {
		return err
	}
	st.timestampInfo = storage.Info{} // there is none yet where we write
	im.edit = im.repo.newEdit(st, nil)
	return im.loadRoles(ctx)
}

// checkPlace refuses a place in use. What a cut-short import of the same
// repository left is none.
func (im *importer) checkPlace(ctx context.Context) error {
	const advice = "use what is there as it is, or name another place"
	store := im.repo.store
	if _, err := store.Stat(ctx, timestampFile); err == nil {
		return refuse(ReasonExists, advice, "there is a %s in %s already", timestampFile, store)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for i := range len(im.roots) + 1 {
		name := versionedFile(Root, int64(i+1))
		data, _, err := storage.ReadFile(ctx, store, name, maxMetadata)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case i == len(im.roots):
			// Our own first root, of an import that ended just before its last
			// write: nobody could use it, and it is signed again.
			return store.Remove(ctx, name)
		case !bytes.Equal(data, im.roots[i].data):
			return refuse(ReasonExists, advice, "there is another %s in %s already", name, store)
		}
	}
	return nil
}

// oldMetadata returns what is published now, as files of the new place.
func (im *importer) oldMetadata(ctx context.Context) ([]file, error) {
	st := im.edit.state
	var files []file
	for _, r := range append([]liveRole{{Snapshot, Root}}, im.roles...) {
		name := versionedFile(r.name, st.version(r.name))
		data, err := readMetadata(ctx, im.from, name)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, data})
	}
	return files, nil
}

// copyMetadata writes the old roots, and what is published now under numbered
// names: new versions get higher numbers, and clients that hold the old state
// can be tried.
func (im *importer) copyMetadata(ctx context.Context, files []file) error {
	for i, root := range im.roots {
		files = append(files, file{versionedFile(Root, int64(i+1)), root.data})
	}
	for _, f := range files {
		err := im.repo.store.Create(ctx, f.name, f.data)
		if errors.Is(err, fs.ErrExist) {
			err = im.sameFile(ctx, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) sameFile(ctx context.Context, f file) error {
	data, _, err := storage.ReadFile(ctx, im.repo.store, f.name, maxMetadata)
	if err == nil && !bytes.Equal(data, f.data) {
		return refuse(ReasonExists, "name an empty place", "there is another %s in %s already", f.name, im.repo.store)
	}
	return err
}

// rememberOld writes the old state down as one that clients hold, and has the
// move from it rehearsed.
func (im *importer) rememberOld(ctx context.Context, past Past, version int64) error {
	data, err := json.Marshal(past)
	if err != nil {
		return err
	}
	name := historyFile(version)
	if err := im.repo.store.Remove(ctx, name); err != nil {
		return err
	}
	if err := im.repo.store.Create(ctx, name, data); err != nil {
		return err
	}
	if rehearse := im.repo.rehearse; rehearse != nil {
		im.repo.rehearse = func(ctx context.Context, steps []storage.Reader, _ []Past) error {
			return rehearse(ctx, steps, []Past{past})
		}
	}
	return nil
}
