package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"tufboot/metadata/storage"
)

// show writes what readers see. All that it leads to is at the destination.
func (m *mirror) show(ctx context.Context, there *destination, steps []mirrorStep, result *Mirrored) error {
	if err := m.remember(ctx, there, steps); err != nil {
		return err
	}
	info := there.info
	for i, s := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.state == nil {
			if err := m.createSame(ctx, file{versionedFile(Root, s.root), s.data}); err != nil {
				return err
			}
			result.Roots++
			continue
		}
		err := m.to.Replace(ctx, timestampFile, s.state.timestampData, info)
		if errors.Is(err, storage.ErrChanged) {
			return refuse(ReasonConflict, "run this command again", "destination %s was changed by somebody else meanwhile: %w", m.to, err)
		} else if err != nil {
			return err
		}
		m.logger.Info("wrote", "file", timestampFile, "version", s.state.timestamp.Signed.Version)
		if i == len(steps)-1 {
			break
		}
		if _, info, err = readTimestamp(ctx, m.to); err != nil {
			return err
		}
		if s.state.timestamp.Signed.Version < result.Versions.Timestamp {
			result.Bridges++
		}
	}
	return nil
}

// remember writes down which states will be past, before readers see anything
// of the next ones: prune keeps for a while what past states name. Publishing
// does the same.
func (m *mirror) remember(ctx context.Context, there *destination, steps []mirrorStep) error {
	timestamp, root, shown := there.timestamp, there.row.version(), there.row.version()
	if there.shown != nil {
		shown = there.shown.row.version() // the root that its readers had
	}
	for _, s := range steps {
		if s.state == nil {
			root = s.root
			continue
		}
		if version, err := timestampVersion(timestamp); err == nil && !bytes.Equal(timestamp, s.state.timestampData) {
			past := Past{Root: shown, Timestamp: timestamp, Until: m.now().UTC().Truncate(time.Second)}
			if err := writePast(ctx, m.to, version, past); err != nil {
				return err
			}
		}
		timestamp, shown = s.state.timestampData, root
	}
	return nil
}

// writePast writes down a past state. One that a run left that did not come to
// its end would have too early a time.
func writePast(ctx context.Context, to storage.Store, version int64, past Past) error {
	data, err := json.Marshal(past)
	if err != nil {
		return err
	}
	name := historyFile(version)
	if err := to.Remove(ctx, name); err != nil {
		return err
	}
	if err := to.Create(ctx, name, data); err != nil {
		return err
	}
	return to.Remove(ctx, historyFile(version-maxHistory))
}
