package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"tufboot/metadata"
)

// The largest metadata files that are accepted, in bytes, and the longest chain
// of roots in one refresh. They bound what an attacker can make a node read.
const (
	maxRoot      = 512 << 10
	maxTimestamp = 16 << 10
	maxSnapshot  = 2 << 20
	maxTargets   = 16 << 20
	maxRotations = 1024
)

const (
	timestampFile = tuf.TIMESTAMP + ".json"
	snapshotFile  = tuf.SNAPSHOT + ".json"
	targetsFile   = tuf.TARGETS + ".json"
)

func rootFile(version int64) string { return strconv.FormatInt(version, 10) + ".root.json" }

// remote returns the name on the server of a metadata file.
func remote(file string) string { return metadata.MetadataDir + "/" + file }

// Refresh brings root, timestamp, snapshot and targets up to date: the client
// workflow of the TUF specification, section 5. Metadata that is up to date
// costs two requests: for the next root, which is not there, and for
// timestamp.json. Errors are VerificationError, NetworkError, the context's, or
// that Dir cannot be written; after an error nothing can be resolved or
// downloaded, and what was held before is still held.
func (c *Client) Refresh(ctx context.Context) error {
	r, unlock, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return r.finish(ctx)
}

// begin takes the lock and brings root and timestamp up to date: what every
// check asks the server for. The returned function gives the lock back.
func (c *Client) begin(ctx context.Context) (*refresh, func(), error) {
	c.trusted, c.complete, c.known = nil, false, make(keyIDs)
	unlock, err := c.store.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	r, err := c.newRefresh()
	if err == nil {
		err = r.root(ctx)
	}
	if err == nil {
		err = r.timestamp(ctx)
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return r, unlock, nil
}

// newRefresh returns a refresh that trusts the built-in root and no more.
func (c *Client) newRefresh() (*refresh, error) {
	ref, err := c.loadClock()
	if err != nil {
		return nil, err
	}
	trusted, err := loadRoot(c.opts.Root)
	if err != nil {
		return nil, err
	}
	trusted.RefTime = ref.time
	return &refresh{Client: c, t: trusted, ref: ref, rootSum: sha256.Sum256(c.opts.Root)}, nil
}

// finish brings snapshot and targets up to date.
func (r *refresh) finish(ctx context.Context) error {
	if err := r.snapshot(ctx); err != nil {
		return err
	}
	if err := r.targets(ctx); err != nil {
		return err
	}
	if err := r.store.saveClock(r.ref); err != nil {
		return err
	}
	r.pruneRoles(r.t)
	r.trusted, r.complete = r.t, true
	r.Client.ref = r.ref
	return nil
}

// loadClock returns the reference time for this refresh.
func (c *Client) loadClock() (reference, error) {
	lastSeen, err := c.store.readClock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if err := c.store.setAside(clockFile, err); err != nil {
			return reference{}, err
		}
	}
	return newReference(c.opts.Now(), c.opts.ClockFloor, lastSeen), nil
}

// refresh is one run of the workflow.
type refresh struct {
	*Client
	t       *trustedmetadata.TrustedMetadata
	ref     reference
	rootSum [sha256.Size]byte // of the newest root
}

// root walks from the built-in root to the newest (section 5.3), each step from
// the kept chain or else from the server.
func (r *refresh) root(ctx context.Context) error {
	if err := r.keepBuiltIn(); err != nil {
		return err
	}
	for range maxRotations {
		r.known.add(r.t.Root.Signed.Keys)
		next := rootFile(r.t.Root.Signed.Version + 1)
		kept, err := r.store.load(next, maxRoot, r.updateRoot)
		if err != nil {
			return err
		}
		if kept {
			continue
		}
		newer, err := r.fetchRoot(ctx, next)
		if err != nil {
			return err
		}
		if !newer {
			return r.ref.expired("root.json (version "+strconv.FormatInt(r.t.Root.Signed.Version, 10)+")", r.t.Root.Signed.Expires)
		}
	}
	return &VerificationError{
		Reason: ReasonMalformed, Advice: adviceGarbage,
		Err: fmt.Errorf("more than %d versions of root.json", maxRotations),
	}
}

// keepBuiltIn adds the built-in root to the kept chain where the chain has a
// gap: an older release, after a rollback, starts from an older root.
func (r *refresh) keepBuiltIn() error {
	name := rootFile(r.t.Root.Signed.Version)
	if _, err := r.store.read(name, maxRoot); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return r.store.write(name, r.opts.Root)
}

func (r *refresh) updateRoot(data []byte) error {
	return guard(func() error {
		_, err := r.t.UpdateRoot(data)
		if err == nil {
			r.rootSum = sha256.Sum256(data)
		}
		return err
	})
}

// fetchRoot accepts and keeps the given root from the server, and reports
// whether there is one.
func (r *refresh) fetchRoot(ctx context.Context, name string) (bool, error) {
	data, err := r.fetch(ctx, remote(name), maxRoot)
	if isMissing(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := r.updateRoot(data); err != nil {
		return false, r.rejectedRoot(name, data, err)
	}
	r.log.Info("accepted a new root", "version", r.t.Root.Signed.Version)
	return true, r.store.write(name, data)
}

// rejectedRoot says why a root from the server was not accepted.
func (r *refresh) rejectedRoot(name string, data []byte, err error) error {
	if isVersion(err) {
		md := new(tuf.Metadata[tuf.RootType])
		_ = guard(func() (err error) { md, err = md.FromBytes(data); return err }) // was parsed before
		if md != nil && md.Signed.Version > r.t.Root.Signed.Version {
			err = fmt.Errorf("%w: %w", errMixed, err)
		}
	}
	err = rejected(name, data, nil, err)
	// A root that the one before does not vouch for starts another chain,
	// whichever keys signed it.
	var v *VerificationError
	if errors.As(err, &v) && v.Reason == ReasonBadSignature {
		v.Reason, v.Advice = ReasonWrongRoot, adviceForeign
	}
	return err
}

// timestamp loads the kept timestamp as the floor, and the server's (section 5.4).
func (r *refresh) timestamp(ctx context.Context) error {
	update := func(data []byte) error {
		return guard(func() error {
			_, err := r.t.UpdateTimestamp(data)
			return err
		})
	}
	_, err := r.store.load(timestampFile, maxTimestamp, func(data []byte) error {
		if err := update(data); err != nil && !isExpiry(err) {
			return err // an expired one is still a floor
		}
		return nil
	})
	if err != nil {
		return err
	}
	data, err := r.fetch(ctx, remote(timestampFile), maxTimestamp)
	if err != nil {
		return err
	}
	err = update(data)
	var same *tuf.ErrEqualVersionNumber
	switch {
	case err == nil:
		err = r.store.write(timestampFile, data)
	case errors.As(err, &same), isExpiry(err):
		err = nil // judged below
	default:
		err = rejected(timestampFile, data, r.known, err)
	}
	if err != nil {
		return err
	}
	return r.ref.expired(timestampFile, r.t.Timestamp.Signed.Expires)
}

// snapshot takes the kept snapshot if it is the one that the timestamp names,
// and else the server's (section 5.5).
func (r *refresh) snapshot(ctx context.Context) error {
	update := func(data []byte, kept bool) error {
		return guard(func() error { return updateSnapshot(r.t, data, kept) })
	}
	have, err := r.store.load(snapshotFile, maxSnapshot, func(data []byte) error {
		err := update(data, true)
		if isExpiry(err) || isVersion(err) {
			return errOutdated // still a floor
		}
		return err
	})
	if err != nil || have {
		return err
	}
	info := r.t.Timestamp.Signed.Meta[snapshotFile]
	if info == nil {
		return rejected(timestampFile, nil, nil, errors.New("it names no snapshot"))
	}
	data, err := r.fetch(ctx, remote(r.versioned(snapshotFile, info.Version)), limitOf(info, maxSnapshot))
	if err != nil {
		return err
	}
	floor := r.t.Snapshot
	err = update(data, false)
	switch {
	case err == nil:
		return r.store.write(snapshotFile, data)
	case isExpiry(err):
		return r.ref.expired(snapshotFile, r.t.Snapshot.Signed.Expires)
	case isVersion(err) && r.t.Snapshot != floor && r.t.Snapshot.Signed.Version > info.Version:
		err = fmt.Errorf("%w: %w", errMixed, err)
	case floor != nil && r.t.Snapshot == floor && isRemoval(err):
		err = &tuf.ErrBadVersionNumber{Msg: err.Error()}
	}
	return rejected(snapshotFile, data, r.known, err)
}

// isRemoval reports whether a snapshot was refused because it no longer lists a
// role, which the library tells by the general type of its errors only.
func isRemoval(err error) bool {
	_, general := err.(*tuf.ErrRepository) //nolint:errorlint // exactly this type: all others claim to be it
	return general
}

func (r *refresh) targets(ctx context.Context) error {
	return r.loadTargets(ctx, r.t, r.ref, tuf.TARGETS, tuf.ROOT)
}

// versioned returns a metadata file's name on the server.
func (r *refresh) versioned(file string, version int64) string {
	return versionedName(r.t, file, version)
}

func versionedName(t *trustedmetadata.TrustedMetadata, file string, version int64) string {
	if !t.Root.Signed.ConsistentSnapshot {
		return file
	}
	return strconv.FormatInt(version, 10) + "." + file
}

// limitOf returns how many bytes of a file to read at most.
func limitOf(info *tuf.MetaFiles, most int64) int64 {
	if info.Length > 0 && info.Length < most {
		return info.Length
	}
	return most
}
