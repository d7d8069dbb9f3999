package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// state is what is published: the metadata that timestamp.json leads to.
type state struct {
	root      *tuf.Metadata[tuf.RootType]
	timestamp *tuf.Metadata[tuf.TimestampType]
	snapshot  *tuf.Metadata[tuf.SnapshotType]
	targets   *tuf.Metadata[tuf.TargetsType]
}

// load reads what is published and verifies each part against the root and the
// lengths and hashes of the part before. Expiry is not an error here: an expired
// repository must be readable to be refreshed.
func load(s store) (_ *state, err error) {
	defer recoverMalformed(&err)
	st := new(state)
	if st.root, err = loadRoot(s); err != nil {
		return nil, err
	}
	if err := st.root.VerifyDelegate(Root, st.root); err != nil {
		return nil, invalid("root version %d: %w", st.root.Signed.Version, err)
	}
	if st.timestamp, err = loadRole[tuf.TimestampType](s, st.root, Timestamp, timestampFile, nil); err != nil {
		return nil, err
	}
	named := st.timestamp.Signed.Meta[Snapshot+".json"]
	if named == nil {
		return nil, invalid("timestamp.json names no snapshot")
	}
	if st.snapshot, err = loadRole[tuf.SnapshotType](s, st.root, Snapshot, versionedFile(Snapshot, named.Version), named); err != nil {
		return nil, err
	}
	if named = st.snapshot.Signed.Meta[Targets+".json"]; named == nil {
		return nil, invalid("snapshot version %d names no targets", st.snapshot.Signed.Version)
	}
	st.targets, err = loadRole[tuf.TargetsType](s, st.root, Targets, versionedFile(Targets, named.Version), named)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// loadRoot returns the newest root: the last N.root.json of an unbroken row,
// which is where every client's walk ends.
func loadRoot(s store) (*tuf.Metadata[tuf.RootType], error) {
	var last []byte
	for version := int64(1); ; version++ {
		data, err := s.Read(versionedFile(Root, version))
		if errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return nil, err
		}
		last = data
	}
	if last == nil {
		return nil, refuse(ReasonNotRepository, "make one with init, or correct the path",
			"no %s: not a repository", versionedFile(Root, 1))
	}
	root, err := parse[tuf.RootType](last)
	if err != nil {
		return nil, invalid("root: %w", err)
	}
	return root, nil
}

// loadRole reads a role's metadata and verifies its signatures, and its length,
// hashes and version against named, if given.
func loadRole[T tuf.Roles](s store, root *tuf.Metadata[tuf.RootType], role, name string, named *tuf.MetaFiles) (*tuf.Metadata[T], error) {
	data, err := s.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, invalid("%s: %w", role, err)
	} else if err != nil {
		return nil, err
	}
	if named != nil {
		if err := named.VerifyLengthHashes(data); err != nil {
			return nil, invalid("%s: %w", name, err)
		}
	}
	md, err := parse[T](data)
	if err != nil {
		return nil, invalid("%s: %w", name, err)
	}
	if err := root.VerifyDelegate(role, md); err != nil {
		return nil, invalid("%s: %w", name, err)
	}
	if version, _ := versionAndExpiry(md); named != nil && version != named.Version {
		return nil, invalid("%s holds version %d", name, version)
	}
	return md, nil
}

// recoverMalformed makes an error of a panic. go-tuf panics on some malformed
// metadata (a null target, a null role), partly before any signature is looked
// at.
func recoverMalformed(err *error) {
	if p := recover(); p != nil {
		*err = invalid("malformed metadata: %v", p)
	}
}

// parse decodes metadata.
func parse[T tuf.Roles](data []byte) (_ *tuf.Metadata[T], err error) {
	defer recoverMalformed(&err)
	return new(tuf.Metadata[T]).FromBytes(data)
}

// metaFile describes a metadata file for the role that names it.
func metaFile(version int64, data []byte) *tuf.MetaFiles {
	sum := sha256.Sum256(data)
	return &tuf.MetaFiles{
		Version: version,
		Length:  int64(len(data)),
		Hashes:  tuf.Hashes{"sha256": sum[:]},
	}
}

// sumOf returns the hex SHA-256 of a target, or "" if it has none.
func sumOf(t *tuf.TargetFiles) string {
	return hex.EncodeToString(t.Hashes["sha256"])
}

// CheckRoot reports whether data is a root that is signed by its own keys, as a
// client checks the root that it is built with.
func CheckRoot(data []byte) (err error) {
	defer recoverMalformed(&err)
	root, err := parse[tuf.RootType](data)
	if err != nil {
		return invalid("not a root: %w", err)
	}
	if err := root.VerifyDelegate(Root, root); err != nil {
		return invalid("not a valid root: %w", err)
	}
	return nil
}
