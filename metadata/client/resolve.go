package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
)

// Resolved is a release as the signed metadata names it now.
type Resolved struct {
	// Channel is the channel that points to it, "" when it was asked for by
	// version.
	Channel string
	Release *metadata.Release
	// Manifest is the release's encoded manifest, whose SHA-256 is ID.
	Manifest []byte
	ID       metadata.ID

	// Ref is the channel's pointer that led here: the current one, or a step
	// towards it. Its Rollout says who may have the release when. It is zero,
	// like the two below, when the release was asked for by version.
	Ref metadata.ReleaseRef
	// Current is the channel's current release.
	Current metadata.ReleaseRef
	// Maintenance is the channel's hint when to update; nil: at any time.
	Maintenance *metadata.Maintenance
}

// Resolve returns the release that a channel points to for an architecture.
// Refresh must have succeeded before. An unchanged channel costs no request.
// ErrNotFound: there is no such channel, or it has no release for arch.
func (c *Client) Resolve(ctx context.Context, channel, arch string) (*Resolved, error) {
	return c.ResolveFor(ctx, channel, arch, "")
}

// ResolveFor is Resolve for a node that runs version booted ("": unknown): where
// the channel's release wants a higher version than that, it returns the step
// that comes first. The error wraps metadata.ErrNoPath where there is none.
func (c *Client) ResolveFor(ctx context.Context, channel, arch, booted string) (*Resolved, error) {
	ch, err := c.channel(ctx, channel, arch)
	if err != nil {
		return nil, err
	}
	ref, err := ch.Choose(arch, booted)
	if errors.Is(err, metadata.ErrNoRelease) {
		return nil, &notFoundError{
			what: fmt.Sprintf("channel %s: release for %s", channel, arch),
			hint: "The channel has no release for this architecture: nothing was published for it, or it was withdrawn.",
		}
	} else if err != nil {
		return nil, err
	}
	resolved, err := c.release(ctx, ref.Target, ref.Version, arch)
	if err != nil {
		return nil, missing(err, fmt.Sprintf("channel %s: release %s for %s", channel, ref.Version, arch), "The channel points to a release that the repository does not have: its owner publishes or promotes again.")
	}
	if resolved.ID != ref.SHA256 {
		return nil, &VerificationError{
			Reason: ReasonBadHash, Advice: adviceMixed,
			Err: fmt.Errorf("%s has SHA-256 %s, but channel %s points to %s", ref.Target, resolved.ID, channel, ref.SHA256),
		}
	}
	return resolved.by(ch, ref, arch), nil
}

// by adds what the channel says that led to the release.
func (r *Resolved) by(ch *metadata.Channel, ref metadata.ReleaseRef, arch string) *Resolved {
	r.Channel, r.Ref = ch.Name, ref
	r.Current, r.Maintenance = ch.Releases[arch], ch.Maintenance
	return r
}

// channel reads a channel file.
func (c *Client) channel(ctx context.Context, channel, arch string) (*metadata.Channel, error) {
	if err := metadata.CheckChannel(channel); err != nil {
		return nil, err
	}
	if err := metadata.CheckArch(arch); err != nil {
		return nil, err
	}
	name := metadata.ChannelTarget(channel)
	data, err := c.small(ctx, name)
	if err != nil {
		return nil, missing(err, "channel "+channel, "Check the channel's name in the configuration; the repository's owner sees what there is with \"repo-tool list\".")
	}
	ch, err := metadata.ParseChannel(data)
	if err == nil && ch.Name != channel {
		err = fmt.Errorf("it calls itself %q: %w", ch.Name, metadata.ErrFormat)
	}
	if err != nil {
		return nil, badContent(name, err)
	}
	return ch, nil
}

// ReleaseByVersion returns a release that the repository has, whether or not a
// channel points to it. Refresh must have succeeded before. ErrNotFound: there
// is no such release.
func (c *Client) ReleaseByVersion(ctx context.Context, version, arch string) (*Resolved, error) {
	if err := metadata.CheckVersion(version); err != nil {
		return nil, err
	}
	if err := metadata.CheckArch(arch); err != nil {
		return nil, err
	}
	resolved, err := c.release(ctx, metadata.ReleaseTarget(version, arch, metadata.ManifestFile), version, arch)
	if err != nil {
		return nil, missing(err, fmt.Sprintf("release %s for %s", version, arch), "The repository's owner sees what there is with \"repo-tool list\".")
	}
	return resolved, nil
}

// release reads a manifest and checks that it is what it was found as, and that
// the signed metadata agrees with it about the artifacts.
func (c *Client) release(ctx context.Context, name, version, arch string) (*Resolved, error) {
	data, err := c.small(ctx, name)
	if err != nil {
		return nil, err
	}
	release, err := metadata.ParseRelease(data)
	if err == nil && (release.Version != version || release.Arch != arch) {
		err = fmt.Errorf("it is release %s for %s, not %s for %s: %w", release.Version, release.Arch, version, arch, metadata.ErrFormat)
	}
	if err != nil {
		return nil, badContent(name, err)
	}
	for _, a := range release.Artifacts() {
		if _, err := c.lookupArtifact(ctx, a); err != nil {
			return nil, err
		}
	}
	return &Resolved{Release: release, Manifest: data, ID: metadata.IdentityOf(data)}, nil
}

// lookupArtifact returns the signed entry of an artifact, which is the authority
// on its length and hashes and must agree with the manifest.
func (c *Client) lookupArtifact(ctx context.Context, a metadata.Artifact) (*tuf.TargetFiles, error) {
	info, err := c.lookup(ctx, a.Target)
	if err != nil {
		return nil, err
	}
	if info.Length != a.Length {
		return nil, &VerificationError{
			Reason: ReasonBadLength, Advice: adviceMixed,
			Err: fmt.Errorf("%s: the manifest says %d bytes, the signed metadata %d", a.Target, a.Length, info.Length),
		}
	}
	if signed := hex.EncodeToString(info.Hashes["sha256"]); signed != a.SHA256 {
		return nil, &VerificationError{
			Reason: ReasonBadHash, Advice: adviceMixed,
			Err: fmt.Errorf("%s: the manifest says SHA-256 %s, the signed metadata %q", a.Target, a.SHA256, signed),
		}
	}
	return info, nil
}

// small returns a channel file or manifest, kept or from the server, verified.
func (c *Client) small(ctx context.Context, name string) ([]byte, error) {
	info, err := c.lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	if info.Length > metadata.MaxManifestSize {
		return nil, &VerificationError{
			Reason: ReasonBadLength, Advice: adviceGarbage,
			Err: fmt.Errorf("%s has %d bytes, more than %d", name, info.Length, metadata.MaxManifestSize),
		}
	}
	sum := info.Hashes["sha256"]
	verify := func(data []byte) error { return verifyTarget(name, info, data) }
	if data := c.store.loadContent(sum, info.Length, verify); data != nil {
		return data, nil
	}
	data, err := c.fetch(ctx, c.targetPath(name, info), info.Length)
	if err != nil {
		return nil, err
	}
	if err := verify(data); err != nil {
		return nil, err
	}
	c.store.writeContent(sum, data)
	return data, nil
}

// targetPath returns where a target's bytes are on the server.
func (c *Client) targetPath(name string, info *tuf.TargetFiles) string {
	if c.trusted.Root.Signed.ConsistentSnapshot {
		name = metadata.HashedPath(name, hex.EncodeToString(info.Hashes["sha256"]))
	}
	return metadata.TargetsDir + "/" + name
}

// badContent is the error for a signed file with content that makes no sense:
// its publisher's mistake, or a newer format.
func badContent(name string, err error) error {
	return &VerificationError{
		Reason: ReasonMalformed,
		Advice: "The file is signed but its content is not usable: the repository was written by a newer or faulty repo-tool. Update this program, or tell the repository's owner.",
		Err:    fmt.Errorf("%s: %w", name, err),
	}
}

// missing gives an ErrNotFound the words of what the caller asked for.
func missing(err error, what, hint string) error {
	if e, ok := err.(*notFoundError); ok { //nolint:errorlint // only what lookup itself returned
		return &notFoundError{what: fmt.Sprintf("%s (%s)", what, e.what), hint: hint}
	}
	return err
}
