package repository

import (
	"context"
	"fmt"
	"io"
	"os"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// PublishOptions describe a release to be published.
type PublishOptions struct {
	Version   string
	Arch      string
	Channel   string // "": the release is added, no channel points to it
	Kernel    string // path of the file
	Initramfs string // path of the file
	Cmdline   string // the release's kernel command line
	Notes     string
	// Pointing says how it reaches the channel's nodes. A release that is published
	// already moves the channel only with Pointing.Back.
	Pointing
	Keys Signers
	// Progress, if not nil, is told how far the copying of a file is.
	Progress func(file string, done, total int64)
}

// Published is what Publish did.
type Published struct {
	Release  *metadata.Release `json:"release"`
	ID       metadata.ID       `json:"id"`
	Channel  string            `json:"channel,omitempty"`
	Changed  bool              `json:"changed"` // false: all was there already
	Versions Versions          `json:"versions"`
}

// Publish adds a release and points the channel to it, in one step for
// readers. The same release again is nothing to do. A version that is there
// with other content, or written differently, is refused with ReasonVersionExists:
// nodes know releases by version, and caches keep them. Publishing an old release again does not take
// its channel back to it, unless Pointing.Back is set.
func (r *Repository) Publish(ctx context.Context, opts PublishOptions) (*Published, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	e, err := r.Edit(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if err := e.UnlockFor(ctx, opts.Keys, opts.targets()...); err != nil {
		return nil, err
	}
	release, id, added, err := e.addRelease(ctx, opts)
	if err != nil {
		return nil, err
	}
	if opts.Channel != "" {
		if err := e.pointChannel(ctx, opts, id, added); err != nil {
			return nil, err
		}
	}
	changed := len(e.changed) > 0
	versions, err := e.Commit(ctx, opts.Keys)
	if err != nil {
		return nil, err
	}
	return &Published{Release: release, ID: id, Channel: opts.Channel, Changed: changed, Versions: versions}, nil
}

func (o PublishOptions) check() error {
	if err := metadata.CheckVersion(o.Version); err != nil {
		return badValue(err)
	}
	if err := metadata.CheckArch(o.Arch); err != nil {
		return badValue(err)
	}
	if o.Channel != "" {
		if err := metadata.CheckChannel(o.Channel); err != nil {
			return badValue(err)
		}
	}
	return badValue(metadata.CheckCmdline(o.Cmdline))
}

// targets returns the names of the targets that Publish may change.
func (o PublishOptions) targets() []string {
	var names []string
	for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
		names = append(names, metadata.ReleaseTarget(o.Version, o.Arch, file))
	}
	if o.Channel != "" {
		names = append(names, metadata.ChannelTarget(o.Channel))
	}
	return names
}

// Manifest returns the encoded manifest of a release, the very bytes that
// Publish would publish, and copies nothing. Of opts it needs no keys and no
// channel.
func Manifest(ctx context.Context, opts PublishOptions) ([]byte, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	release, err := makeRelease(ctx, opts, hashFile)
	if err != nil {
		return nil, err
	}
	manifest, err := release.Encode()
	return manifest, badValue(err)
}

// take brings one file of a release into its target, or only hashes it.
type take func(ctx context.Context, target, path string, progress func(done int64)) (metadata.Artifact, error)

// addRelease adds the release's targets, if they are not there.
func (e *Edit) addRelease(ctx context.Context, opts PublishOptions) (release *metadata.Release, id metadata.ID, added bool, err error) {
	name := metadata.ReleaseTarget(opts.Version, opts.Arch, metadata.ManifestFile)
	old, exists, err := e.Target(ctx, name)
	if err != nil {
		return nil, "", false, err
	}
	do := e.AddFile
	if exists {
		do = hashFile // nothing is copied for a release that is there or is refused
	} else if err := e.checkSameVersion(ctx, opts.Version, opts.Arch); err != nil {
		return nil, "", false, err
	}
	release, err = makeRelease(ctx, opts, do)
	if err != nil {
		return nil, "", false, err
	}
	manifest, err := release.Encode()
	if err != nil {
		return nil, "", false, badValue(err) // all of it comes from the caller
	}
	id = metadata.IdentityOf(manifest)
	if !exists {
		_, err := e.AddBytes(ctx, name, manifest)
		return release, id, true, err
	}
	if old.SHA256 != string(id) {
		return nil, "", false, refuse(ReasonVersionExists, "publish changed content under a new version",
			"release %s (%s) is published with other content (%s, not %s)",
			opts.Version, opts.Arch, metadata.ID(old.SHA256).Short(), id.Short())
	}
	return release, id, false, nil
}

// makeRelease returns the manifest for the files, each of which do handles.
func makeRelease(ctx context.Context, opts PublishOptions, do take) (*metadata.Release, error) {
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
	}{
		{metadata.KernelFile, opts.Kernel, &release.Kernel},
		{metadata.InitramfsFile, opts.Initramfs, &release.Initramfs},
	}
	for _, part := range parts {
		info, err := os.Stat(part.path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.file, err)
		}
		if !info.Mode().IsRegular() || info.Size() == 0 {
			return nil, badValue(fmt.Errorf("%s: %s is empty or not a regular file: %w", part.file, part.path, metadata.ErrFormat))
		}
		progress := func(done int64) {
			if opts.Progress != nil {
				opts.Progress(part.file, done, info.Size())
			}
		}
		target := metadata.ReleaseTarget(opts.Version, opts.Arch, part.file)
		if *part.artifact, err = do(ctx, target, part.path, progress); err != nil {
			return nil, err
		}
	}
	return release, nil
}

// hashFile is the take that copies nothing.
func hashFile(ctx context.Context, target, path string, progress func(done int64)) (metadata.Artifact, error) {
	f, err := os.Open(path)
	if err != nil {
		return metadata.Artifact{}, fmt.Errorf("target %s: %w", target, err)
	}
	defer f.Close()
	sum, length, err := storage.CopyHashed(ctx, io.Discard, &watched{f, 0, progress})
	if err != nil {
		return metadata.Artifact{}, fmt.Errorf("hash %s: %w", path, err)
	}
	return metadata.Artifact{Target: target, Length: length, SHA256: sum}, nil
}

// pointChannel points the channel to the release with the given identity; added
// says that it is a new one.
func (e *Edit) pointChannel(ctx context.Context, opts PublishOptions, id metadata.ID, added bool) error {
	channel, err := e.channel(ctx, opts.Channel)
	if err != nil {
		return err
	}
	ref := metadata.ReleaseRef{
		Version: opts.Version,
		Target:  metadata.ReleaseTarget(opts.Version, opts.Arch, metadata.ManifestFile),
		SHA256:  id,
	}
	old, has := channel.Releases[opts.Arch]
	if has && old.SHA256 != id && !added && !opts.Back {
		return refuse(ReasonChannelMoved, "to point the channel to it all the same, publish again with --move-channel",
			"release %s (%s) is published already, and channel %s points to %s", opts.Version, opts.Arch, opts.Channel, old.Version)
	}
	changed, err := e.point(ctx, channel, opts.Arch, ref, opts.Pointing)
	if err != nil || !changed {
		return err
	}
	return e.writeChannel(ctx, channel)
}
