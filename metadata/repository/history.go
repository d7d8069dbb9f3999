package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"tufboot/metadata/storage"
)

// Past is a state that was published, and that clients may therefore hold. The
// numbered files that it names are kept until Prune.
type Past struct {
	// Root is the version of the newest root at that time.
	Root int64 `json:"root"`
	// Timestamp is timestamp.json as it was.
	Timestamp []byte `json:"timestamp"`
	// Until is when the next state took its place.
	Until time.Time `json:"until"`
}

// maxHistory bounds how many past states are kept.
const maxHistory = 512

func historyFile(timestamp int64) string {
	return historyDir + strconv.FormatInt(timestamp, 10) + ".json"
}

// remember writes down the state that this change takes the place of, before
// anything of the new one can be seen.
func (e *Edit) remember(ctx context.Context) error {
	if e.published == nil {
		return nil
	}
	past, version, err := e.now()
	if err != nil {
		return err
	}
	data, err := json.Marshal(past)
	if err != nil {
		return err
	}
	name := historyFile(version)
	// A publication that did not come to its end may have left one: its time
	// would be too early.
	if err := e.repo.store.Remove(ctx, name); err != nil {
		return err
	}
	// Where no lock keeps two publishers apart, the other one may have written
	// the same state down just now; which of the two wins shows later.
	if err := e.repo.store.Create(ctx, name, data); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if version <= maxHistory {
		return nil
	}
	return e.repo.store.Remove(ctx, historyFile(version-maxHistory))
}

// now returns the state that readers have as a past one.
func (e *Edit) now() (Past, int64, error) {
	version, err := timestampVersion(e.state.timestampData)
	return Past{
		Root:      e.published.Signed.Version,
		Timestamp: e.state.timestampData,
		Until:     e.repo.clock(),
	}, version, err
}

func timestampVersion(data []byte) (int64, error) {
	var md struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	err := json.Unmarshal(data, &md)
	return md.Signed.Version, err
}

// history returns the last past states, the newest first, at most limit of
// them (0: all). What cannot be read is left out: it is a help, and no part of
// what is signed.
func history(ctx context.Context, s Listable, limit int) ([]Past, error) {
	versions, err := historyVersions(ctx, s)
	if err != nil {
		return nil, err
	}
	past, _, err := pastStates(ctx, s, versions, limit)
	return past, err
}

// pastStates is history where the versions are known. It returns the files of which
// nothing can be made, too.
func pastStates(ctx context.Context, s storage.Reader, versions []int64, limit int) (past []Past, spoiled []string, err error) {
	for _, version := range versions {
		if limit > 0 && len(past) == limit {
			break
		}
		data, _, err := storage.ReadFile(ctx, s, historyFile(version), 4*maxTimestamp)
		bad := errors.Is(err, storage.ErrTooLarge) || errors.Is(err, storage.ErrNotRegular)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil && !bad {
			return nil, nil, err
		}
		var p Past
		if !bad && json.Unmarshal(data, &p) == nil && p.Root > 0 && len(p.Timestamp) > 0 {
			past = append(past, p)
		} else {
			spoiled = append(spoiled, historyFile(version))
		}
	}
	return past, spoiled, nil
}

// Rehearsal tries a change before it is published. steps are what readers will
// see, one after the other, the last of them for good; past are states that
// clients may hold, the newest first. An error stops the publication: it says
// why clients would refuse it, or is an [UntriedError].
type Rehearsal func(ctx context.Context, steps []storage.Reader, past []Past) error

// UntriedError says that a rehearsal could not be carried out, because the store
// or this machine failed, and nothing about the publication.
type UntriedError struct{ Err error }

func (e *UntriedError) Error() string { return "try what is about to be published: " + e.Err.Error() }
func (e *UntriedError) Unwrap() error { return e.Err }

// rehearsedStates is how many past states are tried.
const rehearsedStates = 5

func (e *Edit) rehearse(ctx context.Context, files []file) error {
	if e.repo.rehearse == nil {
		return nil
	}
	var past []Past
	if e.published != nil {
		now, _, err := e.now()
		if err != nil {
			return err
		}
		older, spoiled, err := pastStates(ctx, e.repo.store, e.earlier.states, rehearsedStates-1)
		if err != nil {
			return err
		}
		if len(spoiled) > 0 {
			e.repo.logger.Warn("past states cannot be read: whether nodes get from them to what is about to be published is not tried", "files", len(spoiled), "newest", spoiled[0])
		}
		past = append([]Past{now}, older...)
	}
	var steps []storage.Reader
	shown := make(map[string][]byte)
	// Where the old keys could not sign the way to the new root, a reader between
	// its appearance and the new timestamp fails, which was warned of.
	torn := e.gap && !slices.ContainsFunc(files[:len(files)-1], func(f file) bool { return f.name == timestampFile })
	for i, f := range files {
		shown[f.name] = f.data
		if torn && i < len(files)-1 {
			continue
		}
		if f.name == timestampFile || e.published != nil && strings.HasSuffix(f.name, "."+Root+".json") {
			step := make(map[string][]byte, len(shown))
			for name, data := range shown {
				step[name] = data
			}
			steps = append(steps, &preview{e.repo.store, step})
		}
	}
	err := e.repo.rehearse(ctx, steps, past)
	var untried *UntriedError
	if err == nil || errors.As(err, &untried) {
		return err
	}
	return refuse(ReasonRegression, e.adviceOn(ctx, err),
		"clients would refuse what is about to be published: %w", err)
}

// adviceOn says what to do about clients that would refuse what is to be published.
func (e *Edit) adviceOn(ctx context.Context, err error) string {
	if e.state.root != nil {
		if stray := strayRoot(ctx, e.repo.store, e.state.root.Signed.Version); stray != "" {
			return "nothing was published; remove " + stray + ", which does not belong to the row of roots, and which clients that get that far would take for the next one"
		}
	}
	if errors.Is(err, fs.ErrNotExist) || isInvalid(err) {
		return "nothing was published; restore what is missing or spoiled from a mirror or a copy (verify looks at all), or publish the same release again"
	}
	return "nothing was published; if the repository was restored from a copy, publish from the newest one"
}

// preview is a store with files on top that are not written yet.
type preview struct {
	storage.Reader
	files map[string][]byte
}

func (p *preview) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	if data, ok := p.files[name]; ok {
		return io.NopCloser(bytes.NewReader(data)), storage.Info{Name: name, Size: int64(len(data))}, nil
	}
	return p.Reader.Open(ctx, name)
}

func (p *preview) Stat(ctx context.Context, name string) (storage.Info, error) {
	if data, ok := p.files[name]; ok {
		return storage.Info{Name: name, Size: int64(len(data))}, nil
	}
	return p.Reader.Stat(ctx, name)
}
