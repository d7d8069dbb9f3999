package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// rootRow is an unbroken row of versions of root.json, from version 1 on:
// row[i] is version i+1, signed by the keys of row[i-1] and by its own.
type rootRow []rootVersion

type rootVersion struct {
	data []byte // as published
	md   *tuf.Metadata[tuf.RootType]
}

// maxRoots is the longest row that is followed. Clients have such a limit too.
const maxRoots = 1024

func (r rootRow) newest() *tuf.Metadata[tuf.RootType] { return r[len(r)-1].md }

// version returns the version of the newest root; 0 for an empty row.
func (r rootRow) version() int64 { return int64(len(r)) }

// follow returns the row with the versions that from has after its last, each
// verified as a client does it (TUF specification, section 5.3). An empty row
// starts from whatever version 1 from has.
func (r rootRow) follow(ctx context.Context, from storage.Reader) (rootRow, error) {
	r = slices.Clip(r)
	for r.version() < maxRoots {
		name := versionedFile(Root, r.version()+1)
		data, _, err := readPublished(ctx, from, name, maxMetadata)
		if errors.Is(err, fs.ErrNotExist) {
			return r, nil
		} else if err != nil {
			return nil, err
		}
		next, err := r.next(data)
		if err != nil {
			return nil, err
		}
		r = append(r, next)
	}
	return nil, invalid("more than %d versions of root.json in %s", maxRoots, from)
}

// next verifies the root that is to follow the row's last.
func (r rootRow) next(data []byte) (_ rootVersion, err error) {
	defer recoverMalformed(&err)
	name := versionedFile(Root, r.version()+1)
	md, err := parse[tuf.RootType](data)
	if err != nil {
		return rootVersion{}, invalid("%s: %w", name, err)
	}
	if md.Signed.Version != r.version()+1 {
		return rootVersion{}, invalid("%s holds version %d", name, md.Signed.Version)
	}
	if err := md.VerifyDelegate(Root, md); err != nil {
		return rootVersion{}, invalid("%s: %w", name, err)
	}
	if len(r) > 0 {
		if err := r.newest().VerifyDelegate(Root, md); err != nil {
			return rootVersion{}, invalid("%s is not signed by the keys of the version before: %w", name, err)
		}
	}
	return rootVersion{data, md}, nil
}

// strayRoot returns the name of a root that is no part of the row that ends with
// newest, but will stop clients when the row has grown up to it; "" if there is none
// among the next few. Clients ask for one after the other until there is none.
func strayRoot(ctx context.Context, from storage.Reader, newest int64) string {
	const few = 8
	for version := newest + 1; version <= newest+few; version++ {
		name := versionedFile(Root, version)
		if info, err := from.Stat(ctx, name); err == nil && info.Name != "" {
			return name
		}
	}
	return ""
}

// reasonWrongRoot is what clients call it, too.
const reasonWrongRoot = "wrong-root"

// mustHold checks that the row leads through the root that is trusted.
func (r rootRow) mustHold(trusted []byte) error {
	if err := CheckRoot(trusted); err != nil {
		return fmt.Errorf("the trusted root: %w", err)
	}
	md, err := parse[tuf.RootType](trusted)
	if err != nil {
		return invalid("the trusted root: %w", err)
	}
	version := md.Signed.Version
	if version >= 1 && version <= r.version() && bytes.Equal(r[version-1].data, trusted) {
		return nil
	}
	return &InvalidError{Reason: reasonWrongRoot, Err: fmt.Errorf(
		"the repository's roots, of version 1 to %d, do not lead through the trusted one, of version %d", r.version(), version)}
}

// publishedState is a state as it was published, with the bytes of what was read of
// it: whoever copies metadata must not write it anew, or it is no longer what was
// signed.
type publishedState struct {
	*state
	raw *rawMetadata
	row rootRow // up to the root that it verifies with
}

// loadPublished loads and verifies what a timestamp leads to, under the last
// root of a row.
func loadPublished(ctx context.Context, from storage.Reader, row rootRow, timestamp []byte) (_ *publishedState, err error) {
	defer recoverMalformed(&err)
	raw := newRawMetadata(from)
	st := &state{from: raw, root: row.newest(), timestampData: timestamp, roles: make(map[string]*targetsRole)}
	if err := st.loadBelowRoot(ctx); err != nil {
		return nil, err
	}
	return &publishedState{st, raw, row}, nil
}

// readTimestamp reads the timestamp that a place shows now.
func readTimestamp(ctx context.Context, from storage.Reader) ([]byte, storage.Info, error) {
	data, info, err := readPublished(ctx, from, timestampFile, maxTimestamp)
	if errors.Is(err, fs.ErrNotExist) {
		err = invalid("%s: %w", Timestamp, err)
	}
	return data, info, err
}

// reasonExpired is what clients call it, too.
const reasonExpired = "metadata-expired"

// checkExpiry returns an error if a client refuses one of the roles, or one of
// the three that lead to them, for its age. It returns when the first of them
// expires.
func (st *state) checkExpiry(ctx context.Context, now time.Time, roles []liveRole) (first time.Time, err error) {
	for _, r := range append([]liveRole{{Root, Root}, {Timestamp, Root}, {Snapshot, Root}}, roles...) {
		expires, err := st.expires(ctx, r)
		if err != nil {
			return first, err
		}
		if first.IsZero() || expires.Before(first) {
			first = expires
		}
		if now.After(expires) { // as clients do it (TUF specification, 5.4.4)
			return first, &InvalidError{Reason: reasonExpired,
				Err: fmt.Errorf("%s version %d in %s has expired on %s", r.name, st.version(r.name), st.from, expires.Format(time.RFC3339))}
		}
	}
	return first, nil
}

// rawMetadata is a reader that keeps what it has read of numbered metadata.
type rawMetadata struct {
	storage.Reader
	mu    sync.Mutex
	files map[string][]byte
}

func newRawMetadata(from storage.Reader) *rawMetadata {
	return &rawMetadata{Reader: from, files: make(map[string][]byte)}
}

// Open reads numbered metadata once, and everything else each time.
func (r *rawMetadata) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	if !strings.HasPrefix(name, metadata.MetadataDir+"/") || name == timestampFile {
		return r.Reader.Open(ctx, name)
	}
	data := r.data(name)
	if data == nil {
		var err error
		if data, _, err = readPublished(ctx, r.Reader, name, maxMetadata); err != nil {
			return nil, storage.Info{}, err
		}
		r.mu.Lock()
		r.files[name] = data
		r.mu.Unlock()
	}
	return io.NopCloser(bytes.NewReader(data)), storage.Info{Name: name, Size: int64(len(data))}, nil
}

// data returns the bytes of a file that was read; nil if it was not.
func (r *rawMetadata) data(name string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[name]
}

// numberedFile takes the name of a numbered metadata file apart.
func numberedFile(name string) (role string, version int64, ok bool) {
	base, in := strings.CutPrefix(name, metadata.MetadataDir+"/")
	number, rest, dot := strings.Cut(base, ".")
	role, json := strings.CutSuffix(rest, ".json")
	if !in || !dot || !json || role == "" || strings.Contains(base, "/") {
		return "", 0, false
	}
	version, err := strconv.ParseInt(number, 10, 64)
	return role, version, err == nil && version > 0 && versionedFile(role, version) == name
}

// isInvalid reports whether an error says that something published is not
// right, and not that it could not be read.
func isInvalid(err error) bool {
	var invalid *InvalidError
	return errors.As(err, &invalid)
}
