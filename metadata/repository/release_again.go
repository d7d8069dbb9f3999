package repository

import (
	"context"
	"fmt"
	"io"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// sameRelease returns the release that is published with the given manifest. It is
// refused if it is another one. Which chunk maps a release has is no part of what it
// is: one from before there were any is the same. Nothing is copied but files that
// are missing or are not what was signed (see [Repository.Prune], Publishing meanwhile).
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

// publishedRelease reads a manifest. Where the file is gone or spoiled, and would be
// the same again, it is put back.
func (e *Edit) publishedRelease(ctx context.Context, opts PublishOptions, manifest metadata.Artifact) (*metadata.Release, error) {
	data, err := e.ReadTarget(ctx, manifest.Target)
	if isInvalid(err) {
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
			e.warnSpoiled(manifest.Target, missing)
			_, err := restorer{e}.add(ctx, manifest.Target, storage.Bytes(data))
			return release, err
		}
	}
	return nil, missing
}

// putBack uploads the files of a published release again, if one is missing or is not
// what was signed.
func (e *Edit) putBack(ctx context.Context, opts PublishOptions, published *metadata.Release) error {
	var spoiled error
	for _, a := range published.Targets() {
		err := checkTarget(ctx, e.repo.store, a, nil)
		if isInvalid(err) {
			spoiled = err
			e.warnSpoiled(a.Target, err)
		} else if err != nil {
			return err
		}
	}
	if spoiled == nil {
		return nil
	}
	maps := published.KernelChunks != nil || published.InitramfsChunks != nil
	_, err := makeRelease(ctx, opts, restorer{e}, maps)
	return err
}

func (e *Edit) warnSpoiled(target string, err error) {
	e.repo.logger.Warn("a file of the published release is missing or not what was signed, and is put back", "target", target, "cause", err)
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
		return made, invalid("target %s is missing or spoiled, and cannot be made again as it was", target)
	}
	if err := checkTarget(ctx, r.e.repo.store, published, nil); !isInvalid(err) {
		return made, err
	}
	// Import leaves alone what has the name and the length.
	if err := r.e.repo.store.Remove(ctx, targetFile(target, made.SHA256)); err != nil {
		return made, fmt.Errorf("target %s: %w", target, err)
	}
	_, _, err = r.e.repo.store.Import(ctx, open, func(sum string) string { return targetFile(target, sum) })
	if err != nil {
		return made, fmt.Errorf("target %s: %w", target, err)
	}
	return made, nil
}
