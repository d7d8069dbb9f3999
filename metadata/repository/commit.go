package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/storage"
)

// file is a metadata file that is signed and ready to be written.
type file struct {
	name string
	data []byte
}

// Commit signs what changed and writes it in the order of the package comment;
// the last write, of timestamp.json, makes it visible. Everything is signed, and
// tried by Options.Rehearse, before anything is written. With no change it
// writes nothing. A repository that somebody else has published to meanwhile is
// refused with ReasonConflict.
func (e *Edit) Commit(ctx context.Context, keys Signers) (Versions, error) {
	if len(e.changed) == 0 {
		return e.state.versions(), nil
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
		err = e.repo.store.Create(ctx, f.name, f.data)
	} else {
		err = e.replaceTimestamp(ctx, f.data)
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, storage.ErrChanged) {
		return refuse(ReasonConflict, "run this command again: it starts from what the other one has published",
			"repository %s was changed by another publisher meanwhile: %w", e.repo.store, err)
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
	// A new root may take keys away that the published snapshot is signed with.
	if len(roles) > 0 || e.changed[Snapshot] || e.changed[Root] && !e.publishedVerifies() {
		roles = append(roles, liveRole{Snapshot, Root})
	}
	if e.changed[Root] {
		roles = append(roles, liveRole{Root, Root})
	}
	return append(roles, liveRole{Timestamp, Root})
}

// sign returns the signed files in the order in which they must be written.
func (e *Edit) sign(ctx context.Context) ([]file, error) {
	bridge := e.rootChanges() && !e.publishedVerifies()
	var files []file
	for _, r := range e.follow() {
		var f file
		var err error
		switch r.name {
		case Snapshot:
			f, err = e.signSnapshot(ctx)
		case Root:
			if bridge {
				files = e.appendBridge(files)
			}
			f, err = e.signRoot()
		case Timestamp:
			f, err = e.signTimestamp(e.state.root)
		default:
			f, err = e.signTargets(ctx, r)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// publishedVerifies reports whether what readers have now verifies under the
// root that they are about to get.
func (e *Edit) publishedVerifies() bool {
	if e.published == nil {
		return true
	}
	md, err := parse[tuf.TimestampType](e.state.timestampData)
	if err != nil || e.state.root.VerifyDelegate(Timestamp, md) != nil {
		return false
	}
	for _, role := range []string{Snapshot, Targets} {
		if !sameAuthority(&e.published.Signed, &e.state.root.Signed, role) {
			return false
		}
	}
	return true
}

// sameAuthority reports whether all that a role's old keys can have signed
// verifies with the new ones.
func sameAuthority(before, after *tuf.RootType, role string) bool {
	a, b := before.Roles[role], after.Roles[role]
	if a == nil || b == nil || b.Threshold > a.Threshold {
		return false
	}
	for _, id := range a.KeyIDs {
		if !slices.Contains(b.KeyIDs, id) {
			return false
		}
	}
	return true
}

// appendBridge adds a timestamp that readers accept before and after the new
// root appears: signed, as the snapshot and the targets that it leads to, with
// the old keys and the new ones. Where the old keys are gone there is none, and
// a reader between the two writes fails once and tries again.
func (e *Edit) appendBridge(files []file) []file {
	f, err := e.signTimestamp(e.published)
	if err == nil {
		err = e.published.VerifyDelegate(Snapshot, e.state.snapshot)
	}
	if err == nil {
		err = e.published.VerifyDelegate(Targets, e.state.targets())
	}
	if err != nil {
		e.repo.logger.Warn("the old keys cannot sign the change to the new ones: a node that reads between the two writes fails once", "cause", err)
		return files
	}
	return append(files, f)
}

func (e *Edit) signTargets(ctx context.Context, r liveRole) (file, error) {
	md := e.state.roles[r.name].md
	by, err := e.state.authority(r.name, r.parent)
	if err != nil {
		return file{}, err
	}
	var data []byte
	if e.signed[r.name] {
		data, err = e.encodeSigned(r, md)
	} else {
		if md.Signed.Version, err = e.nextVersion(ctx, r.name, md.Signed.Version); err != nil {
			return file{}, err
		}
		md.Signed.Expires = e.repo.clock().Add(e.state.policy(r).Expiry)
		data, err = signNew(by, md, e.signers[r.name])
	}
	if err != nil {
		return file{}, err
	}
	named := metaFile(md.Signed.Version, data)
	named.UnrecognizedFields = map[string]any{expiresField: md.Signed.Expires.Format(time.RFC3339)}
	e.state.snapshot.Signed.Meta[metaName(r.name)] = named
	return file{versionedFile(r.name, md.Signed.Version), data}, nil
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

// nextVersion returns the next version whose file does not exist.
func (e *Edit) nextVersion(ctx context.Context, role string, current int64) (int64, error) {
	for version := current + 1; ; version++ {
		_, err := e.repo.store.Stat(ctx, versionedFile(role, version))
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
