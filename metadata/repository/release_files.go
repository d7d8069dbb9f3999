package repository

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"tufboot/metadata"
	"tufboot/metadata/chunks"
	"tufboot/metadata/storage"
)

// adder takes the bytes of a target. open may be called twice.
type adder interface {
	add(ctx context.Context, target string, open func() (io.ReadCloser, error)) (metadata.Artifact, error)
}

// hasher is the adder that keeps nothing.
type hasher struct{}

func (hasher) add(ctx context.Context, target string, open func() (io.ReadCloser, error)) (metadata.Artifact, error) {
	f, err := open()
	if err != nil {
		return metadata.Artifact{}, fmt.Errorf("target %s: %w", target, err)
	}
	defer f.Close()
	sum, length, err := storage.CopyHashed(ctx, io.Discard, f)
	if err != nil {
		return metadata.Artifact{}, fmt.Errorf("target %s: %w", target, err)
	}
	return metadata.Artifact{Target: target, Length: length, SHA256: sum}, nil
}

// mapKeeper is the adder that keeps chunk maps, which are small, by the last part of
// their names.
type mapKeeper struct {
	hasher
	maps map[string][]byte
}

func (k mapKeeper) add(ctx context.Context, target string, open func() (io.ReadCloser, error)) (metadata.Artifact, error) {
	if !strings.HasSuffix(target, metadata.ChunksSuffix) {
		return k.hasher.add(ctx, target, open)
	}
	var kept bytes.Buffer
	a, err := k.hasher.add(ctx, target, func() (io.ReadCloser, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		kept.Reset()
		return struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r, &kept), r}, nil
	})
	k.maps[path.Base(target)] = kept.Bytes()
	return a, err
}

// makeRelease returns the manifest for the files, which to takes; with chunk maps,
// if they are wanted, of those that are large enough.
func makeRelease(ctx context.Context, opts PublishOptions, to adder, maps bool) (*metadata.Release, error) {
	release := &metadata.Release{
		Schema:  metadata.Schema,
		Version: opts.Version,
		Arch:    opts.Arch,
		Cmdline: opts.Cmdline,
		Notes:   opts.Notes,
	}
	parts := []struct {
		file, path string
		artifact   *metadata.Artifact
		chunks     **metadata.Artifact
	}{
		{metadata.KernelFile, opts.Kernel, &release.Kernel, &release.KernelChunks},
		{metadata.InitramfsFile, opts.Initramfs, &release.Initramfs, &release.InitramfsChunks},
	}
	for _, part := range parts {
		info, err := os.Stat(part.path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.file, err)
		}
		if !info.Mode().IsRegular() || info.Size() == 0 {
			return nil, badValue(fmt.Errorf("%s: %s is empty or not a regular file: %w", part.file, part.path, metadata.ErrFormat))
		}
		source := &source{path: part.path, mapped: maps && info.Size() >= metadata.MinChunked}
		if opts.Progress != nil {
			source.progress = func(done int64) { opts.Progress(part.file, done, info.Size()) }
		}
		target := metadata.ReleaseTarget(opts.Version, opts.Arch, part.file)
		if *part.artifact, err = to.add(ctx, target, source.open); err != nil {
			return nil, fmt.Errorf("from %s: %w", part.path, err)
		}
		if !source.mapped {
			continue
		}
		if *part.chunks, err = addMap(ctx, to, *part.artifact, source.made); err != nil {
			return nil, err
		}
	}
	return release, nil
}

// addMap adds the chunk map of an artifact.
func addMap(ctx context.Context, to adder, of metadata.Artifact, m *chunks.Map) (*metadata.Artifact, error) {
	target := of.Target + metadata.ChunksSuffix
	if m == nil || m.Length() != of.Length {
		return nil, fmt.Errorf("target %s: the file was not read whole", target)
	}
	data, err := m.Encode()
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", target, err)
	}
	added, err := to.add(ctx, target, storage.Bytes(data))
	return &added, err
}

// source is a file of a release.
type source struct {
	path     string
	progress func(done int64) // may be nil
	mapped   bool             // its chunk map is wanted
	made     *chunks.Map      // after it was read
}

// open opens the file. The first reading makes the map.
func (s *source) open() (io.ReadCloser, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	r := &tracked{f, watched{f, 0, s.progress}}
	if !s.mapped || s.made != nil {
		return r, nil
	}
	return newMapping(r, func(m *chunks.Map) { s.made = m }), nil
}
