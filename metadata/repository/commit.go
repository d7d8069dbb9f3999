package repository

import (
	"context"
	"fmt"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// file is a metadata file that is signed and ready to be written.
type file struct {
	name string
	data []byte
}

// Commit signs what changed and writes it in the order of the package comment;
// the last write, of timestamp.json, makes it visible. Everything is signed
// before anything is written. With no change it writes nothing.
func (e *Edit) Commit(ctx context.Context, keys Signers) (Versions, error) {
	if len(e.changed) == 0 {
		return e.state.versions(), nil
	}
	if err := e.Unlock(ctx, keys, e.roles()...); err != nil {
		return Versions{}, err
	}
	files, err := e.sign()
	if err != nil {
		return Versions{}, err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return Versions{}, err
		}
		if err := e.repo.store.Write(f.name, f.data); err != nil {
			return Versions{}, err
		}
		e.repo.logger.Info("wrote", "file", f.name)
	}
	clear(e.changed)
	return e.state.versions(), nil
}

// roles returns the roles that Commit signs: those that changed and those that
// name them.
func (e *Edit) roles() []string {
	var roles []string
	targets := e.changed[Targets]
	snapshot := targets || e.changed[Snapshot]
	if targets {
		roles = append(roles, Targets)
	}
	if snapshot {
		roles = append(roles, Snapshot)
	}
	if e.changed[Root] {
		roles = append(roles, Root)
	}
	return append(roles, Timestamp)
}

// sign returns the signed files in the order in which they must be written.
func (e *Edit) sign() ([]file, error) {
	var files []file
	steps := map[string]func() (file, error){
		Root: e.signRoot, Targets: e.signTargets, Snapshot: e.signSnapshot, Timestamp: e.signTimestamp,
	}
	for _, role := range e.roles() {
		f, err := steps[role]()
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func (e *Edit) signTargets() (file, error) {
	md := e.state.targets
	version, err := e.nextVersion(Targets, md.Signed.Version)
	if err != nil {
		return file{}, err
	}
	md.Signed.Version = version
	md.Signed.Expires = e.repo.clock().Add(e.policy[Targets].Expiry)
	data, err := signNew(e.state.root, Targets, md, e.signers[Targets])
	if err != nil {
		return file{}, err
	}
	e.state.snapshot.Signed.Meta[Targets+".json"] = metaFile(version, data)
	return file{versionedFile(Targets, version), data}, nil
}

func (e *Edit) signSnapshot() (file, error) {
	md := e.state.snapshot
	before := md.Signed.Version
	version, err := e.nextVersion(Snapshot, before)
	if err != nil {
		return file{}, err
	}
	md.Signed.Version = version
	md.Signed.Expires = e.repo.clock().Add(e.policy[Snapshot].Expiry)
	data, err := signNew(e.state.root, Snapshot, md, e.signers[Snapshot])
	if err != nil {
		return file{}, err
	}
	e.state.timestamp.Signed.Meta[Snapshot+".json"] = metaFile(version, data)
	// A snapshot number that a crash left unused may have been named by a
	// timestamp that a reader saw and the disk lost. Stepping over as many
	// timestamp versions keeps such a reader from taking the two for one.
	e.state.timestamp.Signed.Version += version - before - 1
	return file{versionedFile(Snapshot, version), data}, nil
}

func (e *Edit) signRoot() (file, error) {
	md := e.state.root
	md.Signed.Version++
	md.Signed.Expires = e.repo.clock().Add(e.policy[Root].Expiry)
	data, err := signNew(md, Root, md, e.signers[Root])
	if err != nil {
		return file{}, err
	}
	return file{versionedFile(Root, md.Signed.Version), data}, nil
}

func (e *Edit) signTimestamp() (file, error) {
	md := e.state.timestamp
	md.Signed.Version++
	md.Signed.Expires = e.repo.clock().Add(e.policy[Timestamp].Expiry)
	data, err := signNew(e.state.root, Timestamp, md, e.signers[Timestamp])
	if err != nil {
		return file{}, err
	}
	return file{timestampFile, data}, nil
}

// nextVersion returns the next version whose file does not exist.
func (e *Edit) nextVersion(role string, current int64) (int64, error) {
	for version := current + 1; ; version++ {
		taken, err := exists(e.repo.store, versionedFile(role, version))
		if err != nil {
			return 0, fmt.Errorf("next version of %s: %w", role, err)
		}
		if !taken {
			return version, nil
		}
	}
}

func (st *state) versions() Versions {
	return Versions{
		Root:      st.root.Signed.Version,
		Targets:   st.targets.Signed.Version,
		Snapshot:  st.snapshot.Signed.Version,
		Timestamp: st.timestamp.Signed.Version,
	}
}

// newState returns the first version of each role, unsigned.
func newState(root *tuf.Metadata[tuf.RootType]) *state {
	st := &state{root: root, targets: tuf.Targets(), snapshot: tuf.Snapshot(), timestamp: tuf.Timestamp()}
	st.targets.Signed.Version = 0
	st.snapshot.Signed.Version = 0
	st.timestamp.Signed.Version = 0
	st.root.Signed.Version = 0
	return st
}
