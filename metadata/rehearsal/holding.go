package rehearsal

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tufboot/metadata"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// holding is what a node holds, by its folder of kept metadata; 0 is nothing. It
// is read from there (see package client), because what a client says of itself
// costs it another verification of everything.
type holding struct {
	root, timestamp, snapshot int64
	sum                       [sha256.Size]byte // of the files below root
}

func (n *node) holds() holding {
	var h holding
	roots, _ := filepath.Glob(filepath.Join(n.dir, "*."+repository.Root+".json"))
	for _, name := range roots {
		number, _, _ := strings.Cut(filepath.Base(name), ".")
		if version, err := strconv.ParseInt(number, 10, 64); err == nil {
			h.root = max(h.root, version)
		}
	}
	var kept struct {
		Signed struct {
			Version int64
			Meta    map[string]struct{ Version int64 }
		}
	}
	all := sha256.New()
	for _, role := range []string{repository.Timestamp, repository.Snapshot, repository.Targets} {
		data, _ := os.ReadFile(filepath.Join(n.dir, role+".json"))
		fmt.Fprintln(all, len(data))
		_, _ = all.Write(data) // never fails
		if role == repository.Timestamp && json.Unmarshal(data, &kept) == nil {
			h.timestamp = kept.Signed.Version
			h.snapshot = kept.Signed.Meta[repository.Snapshot+".json"].Version
		}
	}
	all.Sum(h.sum[:0])
	return h
}

// put puts into the node's folder what a refresh from a past state leaves there,
// which is cheaper than the refresh. complete is false if files of that state are
// gone.
func (n *node) put(ctx context.Context, from storage.Reader, past repository.Past) (complete bool, err error) {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return false, err
	}
	for version := int64(1); version <= past.Root; version++ {
		if _, ok, err := n.keep(ctx, from, repository.Root, version, fmt.Sprintf("%d.root.json", version)); !ok || err != nil {
			return ok, err
		}
	}
	if err := os.WriteFile(filepath.Join(n.dir, repository.Timestamp+".json"), past.Timestamp, 0o600); err != nil {
		return false, err
	}
	data := past.Timestamp
	for _, role := range []string{repository.Snapshot, repository.Targets} {
		listed, err := listedIn(data)
		if err != nil {
			return false, nil //nolint:nilerr // nothing that a client could have accepted
		}
		var ok bool
		if data, ok, err = n.keep(ctx, from, role, listed[role+".json"], role+".json"); !ok || err != nil {
			return ok, err
		}
	}
	return true, nil
}

// keep copies a version of a role's metadata into the node's folder; false: it is
// gone.
func (n *node) keep(ctx context.Context, from storage.Reader, role string, version int64, as string) ([]byte, bool, error) {
	name := fmt.Sprintf("%s/%d.%s.json", metadata.MetadataDir, version, role)
	data, _, err := storage.ReadFile(ctx, from, name, maxFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrTooLarge) || errors.Is(err, storage.ErrNotRegular) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, err
	}
	return data, true, os.WriteFile(filepath.Join(n.dir, as), data, 0o600)
}

type roleVersion struct {
	role    string
	version int64
}

func (v roleVersion) String() string { return fmt.Sprintf("%s version %d", v.role, v.version) }

func (h holding) versions() []roleVersion {
	return []roleVersion{{repository.Root, h.root}, {repository.Timestamp, h.timestamp}, {repository.Snapshot, h.snapshot}}
}

// isNot returns an error if a node does not hold what it should.
func (h holding) isNot(want holding) error {
	is, should := h.versions(), want.versions()
	for i := range is {
		if is[i] != should[i] {
			return fmt.Errorf("it stays at %s, and a new node gets to %d", is[i], should[i].version)
		}
	}
	return nil
}

// goesBack returns an error if a node holds less than before.
func (h holding) goesBack(before holding) error {
	is, was := h.versions(), before.versions()
	for i := range was {
		if is[i].version < was[i].version {
			return fmt.Errorf("it goes back from %s to %d", was[i], is[i].version)
		}
	}
	return nil
}
