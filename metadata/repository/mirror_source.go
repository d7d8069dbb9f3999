package repository

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"

	"tufboot/metadata/storage"
)

// overtaken reports whether an error may come from a publication at the source
// during this run: what it named first may be gone, and a root that it had read
// too early does not verify the timestamp that it read after.
func (m *mirror) overtaken(ctx context.Context, err error) bool {
	if !isInvalid(err) {
		return false
	}
	data, _, err := readTimestamp(ctx, m.from)
	return err == nil && !bytes.Equal(data, m.begun)
}

// source loads what is published at the source, as a client does that holds the
// given roots.
func (m *mirror) source(ctx context.Context, known rootRow) (*publishedState, error) {
	if err := m.checkSameRoot(ctx, known); err != nil {
		return nil, err
	}
	row, err := known.follow(ctx, m.from)
	if err != nil {
		return nil, err
	}
	if len(row) == 0 {
		return nil, errNoRepository(m.from)
	}
	if m.opts.Root != nil {
		if err := row.mustHold(m.opts.Root); err != nil {
			return nil, err
		}
	} else if len(known) == 0 {
		m.logger.Warn("no root is given to start from: the first root.json is taken from the source, unproven", "source", m.from.String())
	}
	now, err := m.newest(ctx, row)
	if err != nil {
		// Perhaps for want of a root that was published after the walk.
		if again, walkErr := row.follow(ctx, m.from); walkErr == nil && len(again) > len(row) {
			return m.newest(ctx, again)
		}
	}
	return now, err
}

// newest loads what the source shows, under the last root of a row.
func (m *mirror) newest(ctx context.Context, row rootRow) (*publishedState, error) {
	data, _, err := readTimestamp(ctx, m.from)
	if err != nil {
		return nil, err
	}
	m.begun = data
	now, err := loadPublished(ctx, m.from, row, data)
	if err != nil {
		return nil, err
	}
	if !now.root.Signed.ConsistentSnapshot {
		return nil, invalid("%s: root version %d does not ask for consistent snapshots, without which a repository cannot be copied while it is read",
			m.from, now.root.Signed.Version)
	}
	return now, nil
}

// checkSameRoot compares the last root that the destination has with the
// source's; the ones before are signed for by it. With Full it compares all.
func (m *mirror) checkSameRoot(ctx context.Context, known rootRow) error {
	for i := range known {
		if i < len(known)-1 && !m.opts.Full {
			continue
		}
		name := versionedFile(Root, int64(i)+1)
		data, err := m.sourceRoot(ctx, int64(i)+1)
		switch {
		case err != nil:
			return err
		case data == nil && i > 0:
			// Older, if it is the same repository at all.
			first, err := m.sourceRoot(ctx, 1)
			if err != nil || bytes.Equal(first, known[0].data) {
				return cmp.Or(err, refuseOlder(m.from, m.to, "it lacks %s", name))
			}
			name, data = versionedFile(Root, 1), first
		}
		if data == nil {
			return errNoRepository(m.from)
		}
		if !bytes.Equal(data, known[i].data) {
			return refuseFork(m.to, name)
		}
	}
	return nil
}

// sourceRoot reads a version of root; nil if the source does not have it.
func (m *mirror) sourceRoot(ctx context.Context, version int64) ([]byte, error) {
	data, _, err := readPublished(ctx, m.from, versionedFile(Root, version), maxMetadata)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func errNoRepository(at storage.Reader) error {
	return refuse(ReasonNotRepository, "correct the path or address", "no %s in %s: not a repository", versionedFile(Root, 1), at)
}

func refuseOlder(from, to storage.Reader, format string, args ...any) error {
	return refuse(ReasonSourceOlder, "the source was restored from a copy, or is itself a mirror that lags behind; mirror from the newest one",
		"source %s is older than destination %s: "+format, append([]any{from, to}, args...)...)
}

func refuseFork(to storage.Reader, name string) error {
	return refuse(ReasonFork, "these are two repositories, or one that was restored and published to again: find out which of the two is right, and mirror to an empty place",
		"%s in %s is not the source's file of that name", name, to)
}
