package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/quick"
	"tufboot/metadata/storage"
)

// state is what is published: the metadata that timestamp.json leads to. Roles
// below targets are loaded when they are first looked into, so that a command
// costs what it touches and not what the repository holds.
type state struct {
	from      storage.Reader
	root      *tuf.Metadata[tuf.RootType]
	timestamp *tuf.Metadata[tuf.TimestampType]
	snapshot  *tuf.Metadata[tuf.SnapshotType]
	roles     map[string]*targetsRole // targets and the delegated roles loaded so far

	// bundle says that this is one, which lacks roles that its channel does not need.
	bundle *Bundled

	timestampData []byte       // as published
	timestampInfo storage.Info // what Replace must find
}

// targetsRole is the metadata of targets or of a role that is delegated to.
type targetsRole struct {
	name   string
	parent string // the role that delegates to it; Root for targets
	md     *tuf.Metadata[tuf.TargetsType]
}

// load reads what is published and verifies each part against the root and the
// lengths and hashes of the part before. Expiry is not an error here: an expired
// repository must be readable to be refreshed.
func load(ctx context.Context, from storage.Reader) (*state, error) {
	root, _, err := loadRoot(ctx, from, 0)
	if err != nil {
		return nil, err
	}
	st, err := loadUnder(ctx, from, root)
	var bad *InvalidError
	if err == nil || !errors.As(err, &bad) || root.Signed.Version == 1 {
		return st, err
	}
	// Perhaps a change of keys ended between the root and the timestamp.
	if before, _, err := loadRoot(ctx, from, root.Signed.Version-1); err == nil {
		if _, err := loadUnder(ctx, from, before); err == nil {
			return nil, refuse(ReasonUnfinished, "run `root publish` again, with the event that makes this root, or `refresh`; either takes the keys of snapshot and timestamp that this root names",
				"root version %d was published, and the rest of that change was not", root.Signed.Version)
		}
	}
	return nil, err
}

// loadUnder is load with a given root.
func loadUnder(ctx context.Context, from storage.Reader, root *tuf.Metadata[tuf.RootType]) (_ *state, err error) {
	defer recoverMalformed(&err)
	st := &state{from: from, root: root, roles: make(map[string]*targetsRole)}
	st.timestampData, st.timestampInfo, err = readPublished(ctx, from, timestampFile, maxTimestamp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, invalid("%s: %w", Timestamp, err)
	} else if err != nil {
		return nil, err
	}
	if err := st.loadBelowRoot(ctx); err != nil {
		return nil, err
	}
	return st, nil
}

// loadBelowRoot fills a state whose root and timestampData are set.
func (st *state) loadBelowRoot(ctx context.Context) (err error) {
	if st.timestamp, err = verified[tuf.TimestampType](st.root, Timestamp, timestampFile, st.timestampData, nil); err != nil {
		return err
	}
	named := st.timestamp.Signed.Meta[metaName(Snapshot)]
	if named == nil {
		return invalid("timestamp.json names no snapshot")
	}
	name := versionedFile(Snapshot, named.Version)
	data, err := readMetadata(ctx, st.from, name)
	if err != nil {
		return err
	}
	if st.snapshot, err = verified[tuf.SnapshotType](st.root, Snapshot, name, data, named); err != nil {
		return err
	}
	_, err = st.role(ctx, Targets, Root)
	return err
}

// role returns the metadata of targets or of a delegated role, which the
// snapshot must list and the parent vouch for.
func (st *state) role(ctx context.Context, name, parent string) (*targetsRole, error) {
	if r := st.roles[name]; r != nil {
		return r, nil
	}
	r, err := st.loadRole(ctx, name, parent)
	if err == nil {
		st.roles[name] = r
	}
	return r, err
}

// loadRole reads a role and changes nothing of the state.
func (st *state) loadRole(ctx context.Context, name, parent string) (_ *targetsRole, err error) {
	defer recoverMalformed(&err)
	named := st.snapshot.Signed.Meta[metaName(name)]
	if named == nil {
		return nil, invalid("snapshot version %d does not list %s", st.snapshot.Signed.Version, name)
	}
	file := versionedFile(name, named.Version)
	data, err := readMetadata(ctx, st.from, file)
	if err != nil {
		return nil, err
	}
	r := &targetsRole{name: name, parent: parent}
	if parent == Root {
		r.md, err = verified[tuf.TargetsType](st.root, name, file, data, named)
	} else {
		if err := checkRole(name); err != nil {
			return nil, err
		}
		r.md, err = verified[tuf.TargetsType](st.roles[parent].md, name, file, data, named)
	}
	if err != nil {
		return nil, err
	}
	if r.md.Signed.Targets == nil {
		r.md.Signed.Targets = make(map[string]*tuf.TargetFiles)
	}
	return r, nil
}

// targets returns the top-level targets metadata.
func (st *state) targets() *tuf.Metadata[tuf.TargetsType] { return st.roles[Targets].md }

// loadRoot returns the newest root, or the one with the given version: the last
// N.root.json of an unbroken row, each signed by the keys of the one before,
// which is where every client's walk ends.
func loadRoot(ctx context.Context, from storage.Reader, want int64) (root *tuf.Metadata[tuf.RootType], data []byte, err error) {
	for version := int64(1); want == 0 || version <= want; version++ {
		next, _, err := readPublished(ctx, from, versionedFile(Root, version), maxMetadata)
		if errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		md, err := parse[tuf.RootType](next)
		if err != nil {
			return nil, nil, invalid("root version %d: %w", version, err)
		}
		if md.Signed.Version != version {
			return nil, nil, invalid("%s holds version %d", versionedFile(Root, version), md.Signed.Version)
		}
		if err := verifyRoot(root, md); err != nil {
			return nil, nil, invalid("root version %d: %w", version, err)
		}
		root, data = md, next
	}
	if root == nil {
		return nil, nil, refuse(ReasonNotRepository, "make one with init, or correct the path",
			"no %s in %s: not a repository", versionedFile(Root, 1), from)
	}
	return root, data, nil
}

// verifyRoot verifies a root by its own keys and by those of the one before, as
// a client does that walks from one to the next (TUF specification, 5.3.4).
func verifyRoot(before, root *tuf.Metadata[tuf.RootType]) (err error) {
	defer recoverMalformed(&err)
	if before != nil {
		if err := before.VerifyDelegate(Root, root); err != nil {
			return err
		}
	}
	return root.VerifyDelegate(Root, root)
}

// readMetadata reads a metadata file that another one names.
func readMetadata(ctx context.Context, from storage.Reader, name string) ([]byte, error) {
	data, _, err := readPublished(ctx, from, name, maxMetadata)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, invalid("%s: %w", name, err)
	}
	return data, err
}

// readPublished reads a file that readers are shown, of at most limit bytes. What is
// larger, or no file at all, is an [InvalidError]: clients refuse it too.
func readPublished(ctx context.Context, from storage.Reader, name string, limit int64) ([]byte, storage.Info, error) {
	data, info, err := storage.ReadFile(ctx, from, name, limit)
	if errors.Is(err, storage.ErrTooLarge) || errors.Is(err, storage.ErrNotRegular) {
		err = invalid("%w", err)
	}
	return data, info, err
}

// delegator is a role that vouches for others: root, or a targets role.
type delegator = quick.Delegator

// verified decodes a role's metadata and verifies its signatures, and its
// length, hashes and version against named, if given.
func verified[T tuf.Roles](by delegator, role, name string, data []byte, named *tuf.MetaFiles) (_ *tuf.Metadata[T], err error) {
	defer recoverMalformed(&err)
	if named != nil {
		if err := named.VerifyLengthHashes(data); err != nil {
			return nil, invalid("%s: %w", name, err)
		}
	}
	md := quick.Read[T](by, role, data)
	if md == nil {
		if md, err = parse[T](data); err != nil {
			return nil, invalid("%s: %w", name, err)
		}
		if err := by.VerifyDelegate(role, md); err != nil {
			return nil, invalid("%s: %w", name, err)
		}
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

// parse decodes metadata. go-tuf's FromBytes decodes it twice, to compare the
// type first.
func parse[T tuf.Roles](data []byte) (_ *tuf.Metadata[T], err error) {
	defer recoverMalformed(&err)
	md := new(tuf.Metadata[T])
	if err := json.Unmarshal(data, md); err != nil {
		return nil, err
	}
	if got, want := typeOf(md); got != want {
		return nil, fmt.Errorf("it is of type %q, not %q", got, want)
	}
	if err := checkBins(md); err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for _, sig := range md.Signatures {
		if seen[sig.KeyID] {
			return nil, fmt.Errorf("two signatures by key %s", shortID(sig.KeyID))
		}
		seen[sig.KeyID] = true
	}
	return md, nil
}

// maxBinBits bounds the hash bins that somebody can make us list: go-tuf takes up
// to 2^32 of them.
const maxBinBits = 14

// checkBins refuses a targets role that delegates to too many hash bins.
func checkBins(md any) error {
	t, ok := md.(*tuf.Metadata[tuf.TargetsType])
	if !ok || t.Signed.Delegations == nil || t.Signed.Delegations.SuccinctRoles == nil {
		return nil
	}
	if bits := t.Signed.Delegations.SuccinctRoles.BitLength; bits < 1 || bits > maxBinBits {
		return fmt.Errorf("it delegates to 2^%d hash bins, and at most 2^%d are read", bits, maxBinBits)
	}
	return nil
}

// typeOf returns the type that metadata claims, and the one that it must have.
func typeOf(md any) (got, want string) {
	switch md := md.(type) {
	case *tuf.Metadata[tuf.RootType]:
		return md.Signed.Type, Root
	case *tuf.Metadata[tuf.TargetsType]:
		return md.Signed.Type, Targets
	case *tuf.Metadata[tuf.SnapshotType]:
		return md.Signed.Type, Snapshot
	case *tuf.Metadata[tuf.TimestampType]:
		return md.Signed.Type, Timestamp
	}
	return "", "metadata"
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
