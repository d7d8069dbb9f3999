package repository

import (
	"context"
	"os"

	"tufboot/metadata"
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
	// NoDelta leaves out the chunk maps, with which nodes fetch only what they lack.
	NoDelta bool
	// Pointing says how it reaches the channel's nodes. A release that is published
	// already moves the channel only with Pointing.Back.
	Pointing
	Keys Signers
	// Progress, if not nil, is told how far the copying of a file is.
	Progress func(file string, done, total int64)
}

// Published is what Publish did.
type Published struct {
	Release *metadata.Release `json:"release"`
	ID      metadata.ID       `json:"id"`
	Channel string            `json:"channel,omitempty"`
	Changed bool              `json:"changed"` // false: all was there already
	Added   bool              `json:"added"`   // false: the release was published before
	// NewChannel says that there was no such channel before.
	NewChannel bool `json:"new_channel,omitempty"`
	// Deltas is what nodes on the channel's last releases download, the most
	// recent release first.
	Deltas   []Delta  `json:"deltas,omitempty"`
	Versions Versions `json:"versions"`
}

// Publish adds a release and points the channel to it, in one step for
// readers. The same release again is nothing to do, with chunk maps or without: it
// stays what was published, and a file of it that is missing or is not what was signed is put back. A version that is there with other content, or written
// differently, is refused with ReasonVersionExists: nodes know releases by version,
// and caches keep them. Publishing an old release again does not take
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
	result := &Published{Release: release, ID: id, Channel: opts.Channel, Added: added}
	if opts.Channel != "" {
		_, known, err := e.Target(ctx, metadata.ChannelTarget(opts.Channel))
		if err != nil {
			return nil, err
		}
		result.NewChannel = !known
		channel, err := e.pointChannel(ctx, opts, id, added)
		if err != nil {
			return nil, err
		}
		result.Deltas = e.deltas(ctx, release, id, channel.Previous[opts.Arch])
	}
	result.Changed = len(e.changed) > 0
	result.Versions, err = e.Commit(ctx, opts.Keys)
	if err != nil {
		return nil, err
	}
	return result, nil
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
	files := []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile}
	for i, path := range []string{o.Kernel, o.Initramfs} {
		if info, err := os.Stat(path); err == nil && info.Size() >= metadata.MinChunked && !o.NoDelta {
			files = append(files, files[1+i]+metadata.ChunksSuffix)
		}
	}
	var names []string
	for _, file := range files {
		names = append(names, metadata.ReleaseTarget(o.Version, o.Arch, file))
	}
	if o.Channel != "" {
		names = append(names, metadata.ChannelTarget(o.Channel))
	}
	return names
}

// Manifest returns the encoded manifest of a release and the chunk maps that it
// names, by the last part of their target names: the very bytes that Publish would
// publish. It copies nothing. Of opts it needs no keys and no channel.
func Manifest(ctx context.Context, opts PublishOptions) (manifest []byte, maps map[string][]byte, err error) {
	if err := opts.check(); err != nil {
		return nil, nil, err
	}
	kept := mapKeeper{maps: make(map[string][]byte)}
	release, err := makeRelease(ctx, opts, kept, !opts.NoDelta)
	if err != nil {
		return nil, nil, err
	}
	manifest, err = release.Encode()
	return manifest, kept.maps, badValue(err)
}

// addRelease adds the release's targets, if they are not there.
func (e *Edit) addRelease(ctx context.Context, opts PublishOptions) (release *metadata.Release, id metadata.ID, added bool, err error) {
	name := metadata.ReleaseTarget(opts.Version, opts.Arch, metadata.ManifestFile)
	old, exists, err := e.Target(ctx, name)
	if err != nil {
		return nil, "", false, err
	}
	if exists {
		release, err = e.sameRelease(ctx, opts, old)
		return release, metadata.ID(old.SHA256), false, err
	}
	if err := e.checkSameVersion(ctx, opts.Version, opts.Arch); err != nil {
		return nil, "", false, err
	}
	release, err = makeRelease(ctx, opts, e, !opts.NoDelta)
	if err != nil {
		return nil, "", false, err
	}
	manifest, err := release.Encode()
	if err != nil {
		return nil, "", false, badValue(err) // all of it comes from the caller
	}
	_, err = e.AddBytes(ctx, name, manifest)
	return release, metadata.IdentityOf(manifest), true, err
}

// pointChannel points the channel to the release with the given identity; added
// says that it is a new one.
func (e *Edit) pointChannel(ctx context.Context, opts PublishOptions, id metadata.ID, added bool) (*metadata.Channel, error) {
	channel, err := e.channel(ctx, opts.Channel)
	if err != nil {
		return nil, err
	}
	ref := metadata.ReleaseRef{
		Version: opts.Version,
		Target:  metadata.ReleaseTarget(opts.Version, opts.Arch, metadata.ManifestFile),
		SHA256:  id,
	}
	old, has := channel.Releases[opts.Arch]
	if has && old.SHA256 != id && !added && !opts.Back {
		return nil, refuse(ReasonChannelMoved, "to point the channel to it all the same, publish again with --move-channel",
			"release %s (%s) is published already, and channel %s points to %s", opts.Version, opts.Arch, opts.Channel, old.Version)
	}
	changed, err := e.point(ctx, channel, opts.Arch, ref, opts.Pointing)
	if err != nil || !changed {
		return channel, err
	}
	return channel, e.writeChannel(ctx, channel)
}
