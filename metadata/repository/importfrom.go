package repository

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// foreign reads a repository made by another tool as if it lay as ours do.
type foreign struct {
	storage.Reader
	dir        string // where its metadata lies, with a slash, or ""
	consistent bool   // its file names hold versions and hashes
}

// find looks where the metadata lies: in metadata/, or as go-tuf v0.7 has it,
// beside targets/.
func (f *foreign) find(ctx context.Context) error {
	for _, dir := range []string{metadata.MetadataDir + "/", ""} {
		_, err := f.Stat(ctx, dir+"1."+metaName(Root))
		if err == nil {
			f.dir = dir
			return nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return refuse(ReasonNotRepository, "name the folder, bucket or address that holds metadata/1.root.json or 1.root.json",
		"no 1.root.json in %s: not a repository, or its first roots are not kept", f.Reader)
}

// Open opens a metadata file under the name that we would give it.
func (f *foreign) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	base := path.Base(name)
	if number, role, found := strings.Cut(base, "."); found && !f.consistent && role != metaName(Root) && strings.Trim(number, "0123456789") == "" {
		base = role
	}
	return f.Reader.Open(ctx, f.dir+base)
}

// copied is a target of the old repository.
type copied struct {
	name string
	file *tuf.TargetFiles
}

// openTarget opens the bytes of a target, which end in an error if they are not
// what is signed.
func (f *foreign) openTarget(ctx context.Context, t copied) (io.ReadCloser, error) {
	names := []string{t.name}
	if f.consistent {
		for _, algorithm := range slices.Sorted(maps.Keys(t.file.Hashes)) {
			names = append(names, metadata.HashedPath(t.name, hex.EncodeToString(t.file.Hashes[algorithm])))
		}
		// Some hand targets out under their plain names all the same.
		slices.Reverse(names)
	}
	for _, name := range names {
		r, _, err := f.Reader.Open(ctx, path.Join(metadata.TargetsDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		return newSignedReader(r, t), nil
	}
	return nil, invalid("target %s is missing: %w", t.name, fs.ErrNotExist)
}

// newHash returns the hash function that metadata calls so, nil if we do not
// know it.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}

// signedReader reads a target, and fails before its end if it is not what is
// signed.
type signedReader struct {
	io.ReadCloser
	target copied
	hashes map[string]hash.Hash
	left   int64
}

func newSignedReader(r io.ReadCloser, t copied) *signedReader {
	s := &signedReader{ReadCloser: r, target: t, hashes: make(map[string]hash.Hash), left: t.file.Length}
	for algorithm := range t.file.Hashes {
		if h := newHash(algorithm); h != nil {
			s.hashes[algorithm] = h
		}
	}
	return s
}

func (s *signedReader) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.left -= int64(n)
	for _, h := range s.hashes {
		h.Write(p[:n])
	}
	end := errors.Is(err, io.EOF)
	if s.left < 0 || end && s.left > 0 {
		return 0, &InvalidError{Reason: "bad-length", Err: fmt.Errorf("target %s does not have the %d bytes that are signed", s.target.name, s.target.file.Length)}
	}
	if end {
		for algorithm, h := range s.hashes {
			if hex.EncodeToString(h.Sum(nil)) != hex.EncodeToString(s.target.file.Hashes[algorithm]) {
				return 0, &InvalidError{Reason: "bad-hash", Err: fmt.Errorf("target %s does not have the %s that is signed", s.target.name, algorithm)}
			}
		}
	}
	return n, err
}

// copyTargets copies every target's bytes, and returns their number.
func (im *importer) copyTargets(ctx context.Context) (int64, error) {
	var done, total int64
	for _, t := range im.copies {
		total += t.file.Length
	}
	for _, t := range im.copies {
		progress := func(part int64) {
			if im.opts.Progress != nil {
				im.opts.Progress(done+part, total)
			}
		}
		open := func() (io.ReadCloser, error) {
			r, err := im.from.openTarget(ctx, t)
			if err != nil {
				return nil, err
			}
			return &progressCloser{watched{r, 0, progress}, r}, nil
		}
		sum, length, err := im.repo.store.Import(ctx, open, func(sum string) string { return targetFile(t.name, sum) })
		if err != nil {
			return 0, fmt.Errorf("target %s: %w", t.name, err)
		}
		done += length
		if err := im.named(t, sum); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// named lists a target by its SHA-256 alone. Clients choose any of the hashes
// that are listed for the name that they ask for, and it lies under this one.
func (im *importer) named(t copied, sum string) error {
	hash, err := hex.DecodeString(sum)
	if err != nil {
		return fmt.Errorf("target %s: hash: %w", t.name, err)
	}
	t.file.Hashes = tuf.Hashes{"sha256": hash}
	return nil
}

// progressCloser is a reader that reports how far it has come.
type progressCloser struct {
	watched
	io.Closer
}
