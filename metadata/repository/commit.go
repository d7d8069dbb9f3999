package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"tufboot/metadata/storage"
)

// file is a metadata file that is signed and ready to be written.
type file struct {
	name string
	data []byte
}

// Commit signs what changed and writes it in the order of the package comment;
// the write of timestamp.json makes it visible, and publishedFile is the last. Everything is signed, and
// tried by Options.Rehearse, before anything is written. With no change it
// writes nothing. A repository that somebody else has published to meanwhile is
// refused with ReasonConflict.
func (e *Edit) Commit(ctx context.Context, keys Signers) (Versions, error) {
	if len(e.changed) == 0 {
		e.repo.memorize(e.state.marker())
		return e.state.versions(), e.mark(ctx)
	}
	if err := e.grow(ctx); err != nil {
		return Versions{}, err
	}
	if err := e.unlockRoles(ctx, keys, e.follow()); err != nil {
		return Versions{}, err
	}
	files, err := e.sign(ctx)
	if err != nil {
		return Versions{}, err
	}
	if err := e.rehearse(ctx, files); err != nil {
		return Versions{}, err
	}
	if err := e.remember(ctx); err != nil {
		return Versions{}, err
	}
	for _, f := range files {
		if err := e.write(ctx, f); err != nil {
			return Versions{}, err
		}
		e.repo.logger.Info("wrote", "file", f.name)
	}
	e.repo.memorize(e.state.marker())
	if err := e.mark(ctx); err != nil {
		// It is published all the same, and the next command writes it down.
		e.repo.logger.Warn("what is published now is not written down; until the next command, an older timestamp that is put back would not be noticed", "cause", err)
	}
	clear(e.changed)
	return e.state.versions(), nil
}

// write makes one file. Every numbered one must be new, and the timestamp still
// be the one that this change started from, or the change would undo another.
func (e *Edit) write(ctx context.Context, f file) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if f.name != timestampFile {
		err = e.create(ctx, f)
	} else {
		err = e.replaceTimestamp(ctx, f.data)
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, storage.ErrChanged) {
		return refuse(ReasonConflict, "run this command again: it starts from what the other one has published",
			"repository %s was changed by another publisher meanwhile: %w", e.repo.store, err)
	}
	return err
}

// create makes a numbered file. What was signed elsewhere comes with its number,
// and an attempt that did not reach its end may have written that very file.
func (e *Edit) create(ctx context.Context, f file) error {
	err := e.repo.store.Create(ctx, f.name, f.data)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	there, _, readErr := storage.ReadFile(ctx, e.repo.store, f.name, maxMetadata)
	if readErr == nil && bytes.Equal(there, f.data) {
		return nil
	}
	return err
}

func (e *Edit) replaceTimestamp(ctx context.Context, data []byte) error {
	if err := e.repo.store.Replace(ctx, timestampFile, data, e.state.timestampInfo); err != nil {
		return err
	}
	e.state.timestampData = data
	if !e.rootChanges() {
		return nil
	}
	// The next one replaces this one.
	_, info, err := storage.ReadFile(ctx, e.repo.store, timestampFile, maxTimestamp)
	e.state.timestampInfo = info
	return err
}

// follow returns the roles that Commit signs: those that changed and those that
// name them, in the order in which they are written.
func (e *Edit) follow() []liveRole {
	var roles []liveRole
	for _, name := range slices.Sorted(maps.Keys(e.state.roles)) {
		if e.changed[name] && name != Targets {
			roles = append(roles, liveRole{name, e.state.roles[name].parent})
		}
	}
	if e.changed[Targets] {
		roles = append(roles, liveRole{Targets, Root})
	}
	if len(roles) > 0 || e.changed[Snapshot] {
		roles = append(roles, liveRole{Snapshot, Root})
	}
	if e.changed[Root] {
		roles = append(roles, liveRole{Root, Root})
	}
	return append(roles, liveRole{Timestamp, Root})
}

// sign returns the signed files in the order in which they must be written.
func (e *Edit) sign(ctx context.Context) ([]file, error) {
	roles := e.follow()
	n := slices.IndexFunc(roles, func(r liveRole) bool { return r.name == Snapshot || r.name == Root || r.name == Timestamp })
	files, err := e.signAllTargets(ctx, roles[:n])
	if err != nil {
		return nil, err
	}
	for _, r := range roles[n:] {
		var f file
		switch r.name {
		case Snapshot:
			f, err = e.signSnapshot(ctx)
		case Root:
			if e.rootChanges() && e.gap {
				files = e.appendBridge(files)
			}
			f, err = e.signRoot()
		case Timestamp:
			f, err = e.signTimestamp(e.state.root)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// signAllTargets signs targets and delegated roles, several at a time: a release
// changes a handful of bins, and to encode them is most of the work.
func (e *Edit) signAllTargets(ctx context.Context, roles []liveRole) ([]file, error) {
	files := make([]file, len(roles))
	named := make([]*tuf.MetaFiles, len(roles))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, r := range roles {
		group.Go(func() (err error) {
			files[i], named[i], err = e.signTargets(ctx, r)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, r := range roles {
		e.state.snapshot.Signed.Meta[metaName(r.name)] = named[i]
	}
	return files, nil
}

// appendBridge adds a timestamp that readers accept before and after the new
// root appears: signed, as the snapshot and the targets that it leads to, with
// the old keys and the new ones. Where the old keys are gone there is none, and
// a reader between the two writes fails once and tries again.
//
// It is not written to the history: it leads to the very snapshot that the final
// timestamp leads to, so whatever serves nodes that hold that one serves those that
// hold this. If a crash leaves it as what is published, the next change remembers it.
func (e *Edit) appendBridge(files []file) []file {
	f, err := e.signTimestamp(e.published)
	for _, root := range []*tuf.Metadata[tuf.RootType]{e.published, e.state.root} {
		if err == nil {
			err = verifyTop(root, e.state.timestamp, e.state.snapshot, e.state.targets())
		}
	}
	if err != nil {
		e.repo.logger.Warn("the old keys cannot sign the change to the new ones: a node that reads between the two writes fails once", "cause", err)
		return files
	}
	return append(files, f)
}

// verifyTop verifies what readers need besides the root.
func verifyTop(root *tuf.Metadata[tuf.RootType], timestamp *tuf.Metadata[tuf.TimestampType],
	snapshot *tuf.Metadata[tuf.SnapshotType], targets *tuf.Metadata[tuf.TargetsType]) error {
	if err := root.VerifyDelegate(Timestamp, timestamp); err != nil {
		return err
	}
	if err := root.VerifyDelegate(Snapshot, snapshot); err != nil {
		return err
	}
	return root.VerifyDelegate(Targets, targets)
}

func (e *Edit) signTargets(ctx context.Context, r liveRole) (file, *tuf.MetaFiles, error) {
	md := e.state.roles[r.name].md
	by, err := e.state.authority(r.name, r.parent)
	if err != nil {
		return file{}, nil, err
	}
	var data []byte
	if e.signed[r.name] {
		data, err = e.encodeSigned(r, md)
	} else {
		if md.Signed.Version, err = e.nextVersion(ctx, r.name, md.Signed.Version); err != nil {
			return file{}, nil, err
		}
		md.Signed.Expires = e.repo.clock().Add(e.state.policy(r).Expiry)
		data, err = signNew(by, md, e.signers[r.name])
	}
	if err != nil {
		return file{}, nil, err
	}
	named := metaFile(md.Signed.Version, data)
	named.UnrecognizedFields = map[string]any{expiresField: md.Signed.Expires.Format(time.RFC3339)}
	return file{versionedFile(r.name, md.Signed.Version), data}, named, nil
}

// encodeSigned encodes a role that was signed elsewhere, after verifying it.
func (e *Edit) encodeSigned(r liveRole, md *tuf.Metadata[tuf.TargetsType]) ([]byte, error) {
	var by delegator = e.state.root
	if r.parent != Root {
		by = e.state.roles[r.parent].md
	}
	if err := by.VerifyDelegate(r.name, md); err != nil {
		return nil, invalid("%s: %w", r.name, err)
	}
	return encode(r.name, md)
}

func (e *Edit) signSnapshot(ctx context.Context) (file, error) {
	md := e.state.snapshot
	before := md.Signed.Version
	version, err := e.nextVersion(ctx, Snapshot, before)
	if err != nil {
		return file{}, err
	}
	md.Signed.Version = version
	md.Signed.Expires = e.repo.clock().Add(policyOf(&e.state.root.Signed)[Snapshot].Expiry)
	by, err := rootAuthority(&e.state.root.Signed, Snapshot)
	if err != nil {
		return file{}, err
	}
	data, err := signNew(by, md, e.signers[Snapshot])
	if err != nil {
		return file{}, err
	}
	e.state.timestamp.Signed.Meta[metaName(Snapshot)] = metaFile(version, data)
	// A snapshot number that a crash left unused may have been named by a
	// timestamp that a reader saw and the disk lost. Stepping over as many
	// timestamp versions keeps such a reader from taking the two for one.
	e.state.timestamp.Signed.Version += version - before - 1
	return file{versionedFile(Snapshot, version), data}, nil
}

func (e *Edit) signRoot() (file, error) {
	md := e.state.root
	var data []byte
	var err error
	if e.signed[Root] {
		data, err = encode(Root, md)
	} else {
		md.Signed.Version++
		md.Signed.Expires = e.repo.clock().Add(policyOf(&md.Signed)[Root].Expiry)
		var by authority
		if by, err = rootAuthority(&md.Signed, Root); err == nil {
			data, err = signNew(by, md, e.signers[Root])
		}
	}
	if err == nil && e.signed[Root] {
		err = md.VerifyDelegate(Root, md)
	}
	if err == nil && e.published != nil {
		// Clients ask for the signatures of the root before, too (section 5.3.4).
		err = e.published.VerifyDelegate(Root, md)
	}
	if err != nil {
		return file{}, err
	}
	return file{versionedFile(Root, md.Signed.Version), data}, nil
}

func (e *Edit) signTimestamp(root *tuf.Metadata[tuf.RootType]) (file, error) {
	md := e.state.timestamp
	md.Signed.Version++
	md.Signed.Expires = e.repo.clock().Add(policyOf(&e.state.root.Signed)[Timestamp].Expiry)
	by, err := rootAuthority(&root.Signed, Timestamp)
	if err != nil {
		return file{}, err
	}
	data, err := signNew(by, md, e.signers[Timestamp])
	if err != nil {
		return file{}, err
	}
	return file{timestampFile, data}, nil
}

// nextVersion returns the next version of a role whose file does not exist.
func (e *Edit) nextVersion(ctx context.Context, role string, current int64) (int64, error) {
	return freeVersion(ctx, e.repo.store, role, current)
}

func freeVersion(ctx context.Context, from storage.Reader, role string, current int64) (int64, error) {
	for version := current + 1; ; version++ {
		_, err := from.Stat(ctx, versionedFile(role, version))
		if errors.Is(err, fs.ErrNotExist) {
			return version, nil
		} else if err != nil {
			return 0, fmt.Errorf("next version of %s: %w", role, err)
		}
	}
}

func (st *state) versions() Versions {
	return Versions{
		Root:      st.root.Signed.Version,
		Targets:   st.targets().Signed.Version,
		Snapshot:  st.snapshot.Signed.Version,
		Timestamp: st.timestamp.Signed.Version,
	}
}
