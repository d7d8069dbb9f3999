package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// publishedFile says which state was published last. timestamp.json alone cannot
// tell: whoever can write the folder can put an older one back, which verifies,
// and the next publication would step over the numbers in use and make it newer
// than everything that nodes hold.
const publishedFile = storage.WorkDir + "/published"

// marker is the content of publishedFile.
type marker struct {
	Timestamp int64  `json:"timestamp"` // version
	Root      int64  `json:"root"`      // version
	SHA256    string `json:"sha256"`    // of timestamp.json, in hex
}

func (st *state) marker() marker {
	sum := sha256.Sum256(st.timestampData)
	return marker{st.timestamp.Signed.Version, st.root.Signed.Version, hex.EncodeToString(sum[:])}
}

// newer reports whether m says more than other.
func (m marker) newer(other marker) bool {
	return m.Timestamp > other.Timestamp || m.Timestamp == other.Timestamp && m.Root > other.Root
}

// readMarker returns the marker, and the zero one where there is none.
func readMarker(ctx context.Context, from storage.Reader) (m marker, info storage.Info, err error) {
	data, info, err := storage.ReadFile(ctx, from, publishedFile, maxTimestamp)
	if errors.Is(err, fs.ErrNotExist) {
		return marker{}, storage.Info{}, nil
	} else if err != nil && !errors.Is(err, storage.ErrTooLarge) && !errors.Is(err, storage.ErrNotRegular) {
		return marker{}, info, err
	}
	if err := json.Unmarshal(data, &m); err != nil || m.Timestamp < 1 {
		return marker{}, info, refuse(ReasonRegression, "compare timestamp.json with the newest copy or a mirror; if it is the newest, remove "+publishedFile,
			"%s in %s says nothing about what was published last", publishedFile, from)
	}
	return m, info, nil
}

// earlier is what is known of the past, read before the present state: another
// publisher may only make that newer.
type earlier struct {
	marker marker
	info   storage.Info // of the marker's file
	states []int64      // timestamp versions in the history, the newest first
	// remembered is what is known outside the repository.
	remembered []remembered
}

func readBefore(ctx context.Context, from Listable) (b earlier, err error) {
	if b.marker, b.info, err = readMarker(ctx, from); err == nil {
		b.states, err = historyVersions(ctx, from)
	}
	return b, err
}

// check refuses a state that is older than what was published once.
func (b earlier) check(ctx context.Context, st *state) error {
	now := st.marker()
	if err := b.marker.check(now, publishedFile); err != nil {
		return err
	}
	for _, m := range b.remembered {
		if err := m.marker.check(now, m.path); err != nil {
			return err
		}
	}
	if len(b.states) == 0 || b.states[0] <= now.Timestamp {
		return nil
	}
	// Only what is a past state counts: strangers' files are left alone.
	above := slices.DeleteFunc(slices.Clone(b.states), func(v int64) bool { return v <= now.Timestamp })
	past, _, err := pastStates(ctx, st.from, above, 0)
	var was int64
	for _, p := range past {
		was = max(was, p.Version())
	}
	if err != nil || was <= now.Timestamp {
		return err
	}
	return refuse(ReasonRegression, restoreTimestamp(was, publishedFile)+fmt.Sprintf(" and the files in %s with higher numbers than %d", historyDir, now.Timestamp),
		"timestamp version %d is published, and version %d was before: the metadata was restored from an older copy", now.Timestamp, was)
}

// checkWhole refuses a place that was never published in, as far as it shows, and
// lacks files of what it names: a bundle without its bundle.json, or a copy that was
// cut short. What would be published there would be a fork, and lack them for good.
func (b earlier) checkWhole(ctx context.Context, st *state, in storage.Lister) error {
	if b.marker.Timestamp > 0 || len(b.states) > 0 {
		return nil
	}
	entries, err := st.all(ctx)
	if isInvalid(err) {
		return nil //nolint:nilerr // of roles of others, which may not concern this change
	} else if err != nil {
		return err
	}
	there := make(map[string]bool)
	for info, err := range in.List(ctx, metadata.TargetsDir+"/") {
		if err != nil {
			return err
		}
		there[info.Name] = true
	}
	for _, t := range entries {
		_, _, ours := releaseOf(t.Target)
		if (ours || isChannel(t.Target)) && !there[targetFile(t.Target, t.SHA256)] {
			return &InvalidError{Reason: ReasonBadRepository, Advice: "publish in the repository itself; if this is all that is left of it, restore the files that verify names first",
				Err: fmt.Errorf("the file of target %s is not in %s, and nothing was ever published there: it is only a part of a repository", t.Target, st.from)}
		}
	}
	return nil
}

// check refuses a state that is older than m, which a file says.
func (m marker) check(now marker, file string) error {
	switch {
	case m.Timestamp > now.Timestamp:
		return refuse(ReasonRegression, restoreTimestamp(m.Timestamp, file),
			"timestamp version %d is published, and version %d was before: an older copy was put back", now.Timestamp, m.Timestamp)
	case m.Root > now.Root:
		return refuse(ReasonRegression, fmt.Sprintf("restore %s from the newest copy or a mirror; if it is lost for good, remove %s", versionedFile(Root, m.Root), file),
			"root version %d is published, and version %d was before: an older copy was put back", now.Root, m.Root)
	case m.Timestamp == now.Timestamp && m.SHA256 != now.SHA256:
		return refuse(ReasonRegression, restoreTimestamp(m.Timestamp, file),
			"timestamp version %d is published with other bytes than before", now.Timestamp)
	}
	return nil
}

func restoreTimestamp(version int64, file string) string {
	return fmt.Sprintf("restore timestamp.json of version %d from the newest copy or a mirror; if the newer state is lost for good, remove %s", version, file)
}

// mark writes down what is published now, where that is not written yet. It is
// the last write of a publication: after a crash before it the marker is older
// than the state, and the next command brings it up to date.
func (e *Edit) mark(ctx context.Context) error {
	now := e.state.marker()
	if now == e.earlier.marker {
		return nil
	}
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	for {
		err := e.repo.store.Replace(ctx, publishedFile, data, e.earlier.info)
		if err == nil {
			e.earlier.marker = now
			return nil
		}
		if !errors.Is(err, storage.ErrChanged) {
			return fmt.Errorf("write down that timestamp version %d is published: %w", now.Timestamp, err)
		}
		// Another publisher has been here meanwhile, and may have gone further.
		if err := e.reread(ctx); err != nil {
			return err
		}
		// What a repository left that is no longer here does not matter to a new one.
		if e.published != nil && !now.newer(e.earlier.marker) {
			return nil
		}
	}
}

func (e *Edit) reread(ctx context.Context) (err error) {
	e.earlier.marker, e.earlier.info, err = readMarker(ctx, e.repo.store)
	return err
}
