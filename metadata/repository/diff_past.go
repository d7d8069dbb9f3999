package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// Listable is a store whose files can be listed. The history of a repository can
// be read from such a store only: a web server says nothing of what it has.
type Listable interface {
	storage.Reader
	storage.Lister
}

// History returns the states that were published before, the newest first, at
// most limit of them (0: all that are known).
func History(ctx context.Context, from Listable, limit int) ([]Past, error) {
	past, err := history(ctx, from, limit)
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", from, err)
	}
	return past, nil
}

// Version returns the version of the state's timestamp, by which a state is
// named; 0 if it is not readable.
func (p Past) Version() int64 {
	version, err := timestampVersion(p.Timestamp)
	if err != nil {
		return 0
	}
	return version
}

// AsOf returns the repository as it was at a past state: its timestamp, and no
// root newer than that time's. What that timestamp leads to must still be there.
func AsOf(from storage.Reader, past Past) storage.Reader {
	return &asOf{from, past}
}

type asOf struct {
	storage.Reader
	past Past
}

func (a *asOf) String() string {
	return fmt.Sprintf("%s at timestamp version %d", a.Reader, a.past.Version())
}

func (a *asOf) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	if name == timestampFile {
		return io.NopCloser(bytes.NewReader(a.past.Timestamp)), a.info(), nil
	}
	if err := a.hidden(name); err != nil {
		return nil, storage.Info{}, err
	}
	return a.Reader.Open(ctx, name)
}

func (a *asOf) Stat(ctx context.Context, name string) (storage.Info, error) {
	if name == timestampFile {
		return a.info(), nil
	}
	if err := a.hidden(name); err != nil {
		return storage.Info{}, err
	}
	return a.Reader.Stat(ctx, name)
}

func (a *asOf) info() storage.Info {
	return storage.Info{Name: timestampFile, Size: int64(len(a.past.Timestamp))}
}

// hidden returns the error for a root that was not there yet.
func (a *asOf) hidden(name string) error {
	number, ok := strings.CutSuffix(path.Base(name), "."+Root+".json")
	if !ok || path.Dir(name) != metadata.MetadataDir {
		return nil
	}
	version, err := strconv.ParseInt(number, 10, 64)
	if newer := err == nil && version > a.past.Root; !newer {
		return nil
	}
	return &storage.FileError{Op: "open", Name: name, Place: a.String(), Err: fs.ErrNotExist}
}

// ReadRoots returns every version of root.json, the first one first. They are
// not verified; where there is none the error is a [RefusedError].
func ReadRoots(ctx context.Context, from storage.Reader) ([][]byte, error) {
	var roots [][]byte
	for {
		name := versionedFile(Root, int64(len(roots)+1))
		data, _, err := readPublished(ctx, from, name, maxMetadata)
		switch {
		case err == nil:
			roots = append(roots, data)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case len(roots) == 0:
			return nil, refuse(ReasonNotRepository, "make one with init, or correct the place",
				"no %s in %s: not a repository", name, from)
		default:
			return roots, nil
		}
	}
}

// ReadTimestamp returns timestamp.json as it is published, not verified.
func ReadTimestamp(ctx context.Context, from storage.Reader) ([]byte, error) {
	data, _, err := readPublished(ctx, from, timestampFile, maxTimestamp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, invalid("%s: %w", Timestamp, err)
	}
	return data, err
}
