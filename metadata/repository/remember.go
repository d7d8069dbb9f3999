package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"tufboot/internal/atomicfile"
	"tufboot/metadata/storage"
)

// remembered is what a file outside the repository says was published last. Whoever
// can write the repository can remove what that knows of its own past, put an older
// timestamp.json back, and wait for the scheduler to sign it again, as the newest.
type remembered struct {
	path   string
	marker marker
}

// before returns what is known of the past, in the repository and outside.
func (r *Repository) before(ctx context.Context) (earlier, error) {
	was, err := readBefore(ctx, r.store)
	if err != nil {
		return was, err
	}
	for _, path := range r.remember {
		m, err := readRemembered(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			r.logger.Warn("what was published last is not remembered here", "cause", err)
		default:
			was.remembered = append(was.remembered, remembered{path, m})
		}
	}
	return was, nil
}

func readRemembered(path string) (m marker, err error) {
	data, err := storage.ReadLocal(path, maxTimestamp)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil || m.Timestamp < 1 {
		return marker{}, fmt.Errorf("%s says nothing about what was published last", path)
	}
	return m, nil
}

// memorize writes down outside the repository what is published now, as well as it
// can: keys may lie where nothing can be written, and it is a second line only.
func (r *Repository) memorize(now marker) {
	for _, path := range r.remember {
		was, err := readRemembered(path)
		if err == nil && !now.newer(was) {
			continue
		}
		data, err := json.Marshal(now)
		if err == nil {
			err = atomicfile.Write(path, append(data, '\n'), 0o644)
		}
		if err != nil {
			r.logger.Debug("what is published now is not remembered beside the keys", "cause", err)
		}
	}
}

// unnamed returns the name of a snapshot that is newer than the one that is
// published, where nothing says which state was published last; "" if there is none.
// A publication that was cut short leaves such a file, and so does an older
// timestamp.json that was put back.
func (b earlier) unnamed(ctx context.Context, st *state) string {
	if b.marker.Timestamp > 0 || len(b.remembered) > 0 {
		return ""
	}
	name := versionedFile(Snapshot, st.snapshot.Signed.Version+1)
	if _, err := st.from.Stat(ctx, name); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return name
}

const whyUnnamed = "a publication was cut short, or an older timestamp.json was put back, and what was withdrawn since is offered again; compare with a mirror or a copy"
