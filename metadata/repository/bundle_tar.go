package repository

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"tufboot/internal/atomicfile"
	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// BundleTar writes a bundle as a tar archive to a file, which appears, or is
// replaced, when it is whole and Try has succeeded on it. The same contents give
// the same archive, byte for byte.
func BundleTar(ctx context.Context, from storage.Reader, path string, opts BundleOptions) (*Bundled, error) {
	m := newBundler(from, nil, opts)
	c, err := m.contents(ctx, opts, func(c *bundleContents) error {
		return atomicfile.WriteFrom(path, 0o644, func(w io.Writer) error {
			counted := &countingWriter{w: w}
			if err := m.writeTar(ctx, counted, c); err != nil {
				return err
			}
			m.warnLarge(path, counted.n)
			again, ok := w.(io.ReaderAt)
			if !ok {
				return errors.New("the archive cannot be read again")
			}
			at, err := openTar(again, counted.n, path)
			if err != nil {
				return err
			}
			return tryBundle(ctx, at, c, opts)
		})
	})
	if err != nil {
		return nil, err
	}
	return c.about, nil
}

// BundleStream writes a bundle as a tar archive to w. As that cannot be read
// again, Try reads the same files from the source before. After an error what
// was written is of no use.
func BundleStream(ctx context.Context, from storage.Reader, w io.Writer, opts BundleOptions) (*Bundled, error) {
	m := newBundler(from, nil, opts)
	c, err := m.contents(ctx, opts, func(c *bundleContents) error { return tryBundle(ctx, &bundlePart{from, c}, c, opts) })
	if err != nil {
		return nil, err
	}
	return c.about, m.writeTar(ctx, w, c)
}

// writeTar writes the archive: files only, ordered by name, with the same time,
// owner and permissions for all.
func (m *mirror) writeTar(ctx context.Context, w io.Writer, c *bundleContents) error {
	small := slices.Concat(c.roots, c.roles, []file{c.timestamp, {bundleFile, c.aboutData}})
	type entry struct {
		name   string
		size   int64
		data   []byte
		target metadata.Artifact
	}
	var entries []entry
	for _, f := range small {
		entries = append(entries, entry{name: f.name, size: int64(len(f.data)), data: f.data})
	}
	var total, before int64
	for _, a := range c.targets {
		total += a.Length
		entries = append(entries, entry{name: targetFile(a.Target, a.SHA256), size: a.Length, target: a})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	archive := tar.NewWriter(w)
	for _, e := range entries {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: e.size, Mode: 0o644, ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("bundle: %w", err)
		}
		if e.data != nil {
			if _, err := archive.Write(e.data); err != nil {
				return fmt.Errorf("bundle: %w", err)
			}
			continue
		}
		err := m.writeTarget(ctx, archive, e.target, func(done int64) {
			if m.opts.Progress != nil {
				m.opts.Progress(before+done, total)
			}
		})
		if err != nil {
			return err
		}
		before += e.size
	}
	return archive.Close()
}

func (m *mirror) writeTarget(ctx context.Context, w io.Writer, a metadata.Artifact, progress func(done int64)) error {
	r, err := openTarget(ctx, m.from, a, progress)
	if err == nil {
		_, _, err = storage.CopyHashed(ctx, w, r)
		r.Close()
	}
	if err != nil {
		return fmt.Errorf("copy target %s: %w", a.Target, err)
	}
	return nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// bundlePart reads of a repository what is in a bundle, and nothing else.
type bundlePart struct {
	from storage.Reader
	c    *bundleContents
}

func (p *bundlePart) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	for _, f := range slices.Concat(p.c.roots, p.c.roles, []file{p.c.timestamp}) {
		if f.name == name {
			return io.NopCloser(bytes.NewReader(f.data)), storage.Info{Name: name, Size: int64(len(f.data))}, nil
		}
	}
	if !p.c.names()[name] {
		return nil, storage.Info{}, notIn("open", name, p.String())
	}
	return p.from.Open(ctx, name)
}

func (p *bundlePart) Stat(ctx context.Context, name string) (storage.Info, error) {
	r, info, err := p.Open(ctx, name)
	if err == nil {
		r.Close()
	}
	return info, err
}

func (p *bundlePart) String() string { return "bundle of " + p.from.String() }

func notIn(op, name, place string) error {
	return &storage.FileError{Op: op, Name: name, Place: place, Err: fs.ErrNotExist}
}

// tarFile reads the files of an archive.
type tarFile struct {
	place string
	files map[string]*io.SectionReader
}

func openTar(r io.ReaderAt, size int64, place string) (*tarFile, error) {
	t := &tarFile{place, make(map[string]*io.SectionReader)}
	whole := io.NewSectionReader(r, 0, size)
	archive := tar.NewReader(whole)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return t, nil
		} else if err != nil {
			return nil, fmt.Errorf("read %s again: %w", place, err)
		}
		start, err := whole.Seek(0, io.SeekCurrent) // a tar.Reader reads no further than the header
		if err != nil {
			return nil, err
		}
		t.files[header.Name] = io.NewSectionReader(r, start, header.Size)
	}
}

func (t *tarFile) Open(_ context.Context, name string) (io.ReadCloser, storage.Info, error) {
	f := t.files[name]
	if f == nil {
		return nil, storage.Info{}, notIn("open", name, t.place)
	}
	return io.NopCloser(io.NewSectionReader(f, 0, f.Size())), storage.Info{Name: name, Size: f.Size()}, nil
}

func (t *tarFile) Stat(ctx context.Context, name string) (storage.Info, error) {
	_, info, err := t.Open(ctx, name)
	return info, err
}

func (t *tarFile) String() string { return t.place }
