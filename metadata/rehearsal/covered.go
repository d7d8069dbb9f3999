package rehearsal

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"tufboot/metadata"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// asks is what a node with a kept state asks of everything newer: versions that
// are not lower, and in a snapshot no role less.
type asks struct {
	root      int64 // the newest at that time
	timestamp int64
	snapshot  int64
	sum       [sha256.Size]byte // of the snapshot
	roles     map[string]int64  // nil: the snapshot is gone
}

// readAsks returns what a past state asks for. Nothing of it is verified: it says
// which states need not be tried, and what is wrong in it was never accepted.
func readAsks(ctx context.Context, from storage.Reader, past repository.Past) (asks, error) {
	a := asks{root: past.Root, timestamp: past.Version()}
	var err error
	listed, err := listedIn(past.Timestamp)
	if err != nil {
		return a, nil //nolint:nilerr // no client has accepted it
	}
	a.snapshot = listed[repository.Snapshot+".json"]
	name := fmt.Sprintf("%s/%d.%s.json", metadata.MetadataDir, a.snapshot, repository.Snapshot)
	data, _, err := storage.ReadFile(ctx, from, name, maxFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrTooLarge) || errors.Is(err, storage.ErrNotRegular) {
		return a, nil
	} else if err != nil {
		return a, err
	}
	a.sum = sha256.Sum256(data)
	if a.roles, err = listedIn(data); err != nil {
		a.roles = nil
	}
	return a, nil
}

// listedIn returns the versions that a timestamp or a snapshot lists.
func listedIn(data []byte) (map[string]int64, error) {
	var md struct {
		Signed struct {
			Meta map[string]struct{ Version int64 }
		}
	}
	if err := json.Unmarshal(data, &md); err != nil {
		return nil, err
	}
	versions := make(map[string]int64, len(md.Signed.Meta))
	for name, meta := range md.Signed.Meta {
		versions[name] = meta.Version
	}
	return versions, nil
}

// covers reports whether whatever a node accepts that holds state a, a node
// accepts too that holds the older state b, by the rules of the TUF
// specification, sections 5.4.3 and 5.5.5. root is the newest root of the
// repository: under another one than that of their time the two states may be
// worth something different.
func (a asks) covers(b asks, root int64) bool {
	if a.root != root || b.root != root || b.timestamp >= a.timestamp || b.snapshot > a.snapshot {
		return false
	}
	if b.roles == nil {
		return true
	}
	// A client goes on with a kept snapshot of the right version unseen.
	if a.roles == nil || b.snapshot == a.snapshot && a.sum != b.sum {
		return false
	}
	for name, version := range b.roles {
		if has, ok := a.roles[name]; !ok || has < version {
			return false
		}
	}
	return true
}

// uncovered returns the past states that have to be tried besides the first: all
// that no newer one of them covers.
func uncovered(ctx context.Context, stages []*stage, past []repository.Past) ([]repository.Past, error) {
	roots := int64(len(stages[0].roots))
	for _, s := range stages {
		if int64(len(s.roots)) != roots {
			return past[1:], nil // a new root may change what each of them is worth
		}
	}
	var tried []repository.Past
	var covering []asks
	for i, p := range past {
		a, err := readAsks(ctx, stages[0].from, p)
		if err != nil {
			return nil, err
		}
		covered := false
		for _, c := range covering {
			covered = covered || c.covers(a, roots)
		}
		if covered {
			continue
		}
		covering = append(covering, a)
		if i > 0 {
			tried = append(tried, p)
		}
	}
	return tried, nil
}
