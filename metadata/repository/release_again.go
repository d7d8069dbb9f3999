package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// sameRelease returns the release that is published with the given manifest. It is
// refused if it is another one. Which chunk maps a release has is no part of what it
// is: one from before there were any is the same. Nothing is copied but files that
// are missing (see [Repository.Prune], Publishing meanwhile).
func (e *Edit) sameRelease(ctx context.Context, opts PublishOptions, manifest metadata.Artifact) (*metadata.Release, error) {
	published, err := e.publishedRelease(ctx, opts, manifest)
	if err != nil {
		return nil, err
	}
	release, err := makeRelease(ctx, opts, hasher{}, false)
	if err != nil {
		return nil, err
	}
	var other string
	switch {
	case release.Version != published.Version || release.Arch != published.Arch:
		other = "version or architecture in its manifest"
	case release.Kernel != published.Kernel:
		other = "kernel"
	case release.Initramfs != published.Initramfs:
		other = "initramfs"
	case release.Cmdline != published.Cmdline:
		other = "kernel command line"
	case release.Notes != published.Notes:
		other = "text of the notes"
	default:
		return published, e.putBack(ctx, opts, published)
	}
	return nil, refuse(ReasonVersionExists, "publish changed content under a new version",
		"release %s (%s) is published with another %s (identity %s)",
		opts.Version, opts.Arch, other, metadata.ID(manifest.SHA256).Short())
}

// publishedRelease reads a manifest. Where the file is gone, and would be the same
// again, it is put back.
func (e *Edit) publishedRelease(ctx context.Context, opts PublishOptions, manifest metadata.Artifact) (*metadata.Release, error) {
	data, err := e.ReadTarget(ctx, manifest.Target)
	if errors.Is(err, fs.ErrNotExist) {
		return e.putBackManifest(ctx, opts, manifest, err)
	} else if err != nil {
		return nil, err
	}
	release, err := metadata.ParseRelease(data)
	if err != nil {
		return nil, invalid("target %s: %w", manifest.Target, err)
	}
	return release, nil
}

func (e *Edit) putBackManifest(ctx context.Context, opts PublishOptions, manifest metadata.Artifact, missing error) (*metadata.Release, error) {
	for _, maps := range []bool{!opts.NoDelta, opts.NoDelta} {
		release, err := makeRelease(ctx, opts, hasher{}, maps)
		if err != nil {
			return nil, err
		}
		data, err := release.Encode()
		if err != nil {
			return nil, badValue(err)
		}
		if string(metadata.IdentityOf(data)) == manifest.SHA256 {
			e.warnMissing(manifest.Target)
			_, err := restorer{e}.add(ctx, manifest.Target, storage.Bytes(data))
			return release, err
		}
	}
	return nil, missing
}

// putBack uploads the files of a published release again, if one is missing.
func (e *Edit) putBack(ctx context.Context, opts PublishOptions, published *metadata.Release) error {
	missing := ""
	for _, a := range published.Targets() {
		_, err := e.repo.store.Stat(ctx, targetFile(a.Target, a.SHA256))
		if errors.Is(err, fs.ErrNotExist) {
			missing = a.Target
		} else if err != nil {
			return fmt.Errorf("target %s: %w", a.Target, err)
		}
	}
	if missing == "" {
		return nil
	}
	e.warnMissing(missing)
	maps := published.KernelChunks != nil || published.InitramfsChunks != nil
	_, err := makeRelease(ctx, opts, restorer{e}, maps)
	return err
}

func (e *Edit) warnMissing(target string) {
	e.repo.logger.Warn("a file of the published release is missing, and is put back", "target", target)
}

// restorer is the adder that puts back files of targets that are published. What is
// there stays, and what is not published is an error.
type restorer struct{ e *Edit }

func (r restorer) add(ctx context.Context, target string, open func() (io.ReadCloser, error)) (metadata.Artifact, error) {
	published, _, err := r.e.Target(ctx, target)
	if err != nil {
		return published, err
	}
	made, err := hasher{}.add(ctx, target, open)
	if err != nil {
		return made, err
	}
	if made != published {
		return made, invalid("target %s is missing, and cannot be made again as it was", target)
	}
	_, _, err = r.e.repo.store.Import(ctx, open, func(sum string) string { return targetFile(target, sum) })
	if err != nil {
		return made, fmt.Errorf("target %s: %w", target, err)
	}
	return made, nil
}
