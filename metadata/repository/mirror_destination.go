package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/storage"
)

// destination is what is at the place that is mirrored to.
type destination struct {
	place     storage.Reader
	row       rootRow      // empty: a new place
	timestamp []byte       // nil: nothing is shown yet
	info      storage.Info // of timestamp.json, for Replace
	// shown is what the timestamp leads to; nil if that does not verify. What it
	// names is at the destination, all of it.
	shown *publishedState
}

func (m *mirror) destination(ctx context.Context) (*destination, error) {
	d := &destination{place: m.to}
	if err := m.checkNoBundle(ctx); err != nil {
		return nil, err
	}
	var err error
	if d.row, err = d.row.follow(ctx, m.to); err != nil {
		return nil, fmt.Errorf("destination %s: %w", m.to, err)
	}
	d.timestamp, d.info, err = storage.ReadFile(ctx, m.to, timestampFile, maxTimestamp)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	} else if err != nil {
		return nil, err
	}
	// A run that was killed may have left a newer root than the timestamp is for.
	for i := len(d.row); i > 0 && d.shown == nil; i-- {
		d.shown, err = loadPublished(ctx, m.to, d.row[:i], d.timestamp)
		if err != nil && !isInvalid(err) {
			return nil, err
		}
	}
	if d.shown == nil {
		m.logger.Warn("what the destination shows does not verify: every file is looked at", "destination", m.to.String(), "cause", err)
	}
	return d, nil
}

// checkNoBundle refuses a bundle to mirror to: its metadata names more than it
// holds, and would be taken for whole.
func (m *mirror) checkNoBundle(ctx context.Context) error {
	_, err := m.to.Stat(ctx, bundleFile)
	if errors.Is(err, fs.ErrNotExist) || m.bundle {
		return nil
	} else if err != nil {
		return err
	}
	return refuse(ReasonNotEmpty, "name an empty place", "%s holds a bundle, which is only a part of a repository", m.to)
}

// checkForward refuses a source with which a client of the destination would go
// backwards (TUF specification, sections 5.4.3 and 5.5.5), or sideways.
func (d *destination) checkForward(now *publishedState) (err error) {
	defer recoverMalformed(&err)
	if d.timestamp == nil {
		return nil
	}
	old, parseErr := parse[tuf.TimestampType](d.timestamp)
	if parseErr == nil && now.root.VerifyDelegate(Timestamp, old) == nil {
		is, was := now.timestamp.Signed.Version, old.Signed.Version
		if is < was {
			return refuseOlder(now.from, d.place, "timestamp version %d, not %d", is, was)
		}
		if is == was && !bytes.Equal(d.timestamp, now.timestampData) {
			return refuseFork(d.place, timestampFile)
		}
	}
	if d.shown == nil || now.root.VerifyDelegate(Snapshot, d.shown.snapshot) != nil {
		return nil
	}
	is, was := &now.snapshot.Signed, &d.shown.snapshot.Signed
	if is.Version < was.Version {
		return refuseOlder(now.from, d.place, "snapshot version %d, not %d", is.Version, was.Version)
	}
	for name, meta := range was.Meta {
		if newer := is.Meta[name]; newer == nil {
			return refuseOlder(now.from, d.place, "its snapshot does not list %s", name)
		} else if newer.Version < meta.Version {
			return refuseOlder(now.from, d.place, "%s version %d, not %d", name, newer.Version, meta.Version)
		}
	}
	return nil
}

// holds reports whether the destination has a role as another state names it.
func (d *destination) holds(role string, as *publishedState) bool {
	if d.shown == nil {
		return false
	}
	is, was := as.snapshot.Signed.Meta[metaName(role)], d.shown.snapshot.Signed.Meta[metaName(role)]
	if is == nil || was == nil || is.Version != was.Version {
		return false
	}
	for algorithm, sum := range is.Hashes {
		if old, ok := was.Hashes[algorithm]; ok && !bytes.Equal(old, sum) {
			return false
		}
	}
	return true
}

// heldTargets returns the targets of a role that the destination shows, to
// save looking for each; nil if there are none.
func (d *destination) heldTargets(ctx context.Context, role string) map[string]*tuf.TargetFiles {
	if d.shown == nil {
		return nil
	}
	named := d.shown.snapshot.Signed.Meta[metaName(role)]
	if named == nil {
		return nil
	}
	data, err := readMetadata(ctx, d.place, versionedFile(role, named.Version))
	if err != nil || named.VerifyLengthHashes(data) != nil {
		return nil
	}
	md, err := parse[tuf.TargetsType](data)
	if err != nil {
		return nil
	}
	return md.Signed.Targets
}
