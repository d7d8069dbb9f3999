package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// Reason codes of refusals to make a bundle.
const (
	ReasonNoChannel = "no-such-channel" // not in the repository
	ReasonNotEmpty  = "not-empty"       // the place to write to holds something else
)

// BundleOptions say what a bundle is to hold.
type BundleOptions struct {
	Options
	Channel string
	Arch    string // "": all that the channel has a release for
	// Root is the root that is trusted; nil: version 1 of the source, which is to
	// trust the source.
	Root []byte
	// AllowExpired bundles metadata although clients refuse it for its age.
	AllowExpired bool
	// Try, if not nil, tries what was written as a node does; at is nothing but
	// the bundle. An error fails the command.
	Try func(ctx context.Context, at storage.Reader, b *Bundled) error
	// Progress, if not nil, is told how many bytes of the targets are done.
	Progress func(done, total int64)
}

// Bundled is what a bundle holds: a part of a repository that is enough for a
// client that follows one channel. It is written into the bundle as bundle.json.
type Bundled struct {
	Schema   int             `json:"schema"`
	Channel  string          `json:"channel"`
	Releases []BundleRelease `json:"releases"` // steps first, ordered by architecture
	Files    int             `json:"files"`    // without bundle.json
	Bytes    int64           `json:"bytes"`    // of these
	// Expires is when the first part of the metadata does: until then clients
	// accept the bundle.
	Expires  time.Time `json:"expires"`
	Versions Versions  `json:"versions"`
}

// BundleRelease is a release in a bundle.
type BundleRelease struct {
	Version string      `json:"version"`
	Arch    string      `json:"arch"`
	ID      metadata.ID `json:"id"`
	// Step says that the channel does not point to the release, but leads nodes
	// on old versions through it.
	Step bool `json:"step,omitempty"`
}

// ReasonBundle is the reason code of a command that would write into a bundle.
const ReasonBundle = "bundle-is-read-only"

// bundleFile describes a bundle, for people, and tells a bundle's folder from
// others. No client reads it.
const bundleFile = "bundle.json"

// bundleSchema is the version of the format of bundle.json.
const bundleSchema = 1

// ReadBundled returns what the bundle in a place holds, by its own account, nil
// where there is no bundle. Where something was published, bundle.json is not ours,
// and an error: it would hide what is missing.
func ReadBundled(ctx context.Context, from storage.Reader) (*Bundled, error) {
	data, _, err := storage.ReadFile(ctx, from, bundleFile, maxMetadata)
	if err != nil {
		// Some servers deny access to what is not there. Another fault will show
		// with the files that must be there.
		return nil, nil //nolint:nilerr // see above
	}
	if isPublishedIn(ctx, from) {
		return nil, &InvalidError{Reason: ReasonBadRepository, Advice: "find out who put it there, and remove " + bundleFile,
			Err: fmt.Errorf("%s is in %s, which is no bundle: something was published there", bundleFile, from)}
	}
	b := new(Bundled)
	if err := json.Unmarshal(data, b); err != nil {
		return nil, invalid("%s describes no bundle: %w", bundleFile, err)
	} else if b.Schema != bundleSchema {
		return nil, invalid("%s describes no bundle that this program knows: schema %d, not %d", bundleFile, b.Schema, bundleSchema)
	}
	return b, nil
}

// isPublishedIn reports whether a place is one that is published in, as far as it shows
// that: a web server does not.
func isPublishedIn(ctx context.Context, from storage.Reader) bool {
	if _, err := from.Stat(ctx, publishedFile); err == nil {
		return true
	}
	list, ok := from.(Listable)
	if !ok {
		return false
	}
	states, err := historyVersions(ctx, list)
	return err == nil && len(states) > 0
}

// Bundled returns what the repository holds if it is a bundle, and else nil.
func (r *Repository) Bundled(ctx context.Context) (*Bundled, error) { return ReadBundled(ctx, r.store) }

// bundleContents is what goes into a bundle.
type bundleContents struct {
	about     *Bundled
	aboutData []byte
	roots     []file
	roles     []file // numbered metadata: what a client asks for, no more
	timestamp file
	targets   []metadata.Artifact
}

// choose returns what a client reads that follows the channel: the row of roots,
// timestamp, snapshot, the roles that it looks the targets up in, and the
// targets of the channel's releases and of the steps to them.
func (m *mirror) choose(ctx context.Context, now *publishedState, opts BundleOptions) (*bundleContents, error) {
	channel, err := m.readChannel(ctx, now, opts.Channel)
	if err != nil {
		return nil, err
	}
	c := &bundleContents{about: &Bundled{Schema: bundleSchema, Channel: channel.Name, Versions: now.versions()}}
	name := metadata.ChannelTarget(channel.Name)
	if err := c.addTarget(ctx, now, name, ""); err != nil {
		return nil, err
	}
	for _, arch := range slices.Sorted(maps.Keys(channel.Releases)) {
		if opts.Arch != "" && opts.Arch != arch {
			continue
		}
		for _, step := range channel.Steps[arch] {
			if err := c.addRelease(ctx, now, arch, step, true); err != nil {
				return nil, err
			}
		}
		if err := c.addRelease(ctx, now, arch, channel.Releases[arch], false); err != nil {
			return nil, err
		}
	}
	if len(c.about.Releases) == 0 {
		return nil, refuse(ReasonNoRelease, "list shows what the channels point to",
			"channel %s does not point to %s", channel.Name, describe("", opts.Arch))
	}
	if err := c.addMetadata(ctx, now, m.now(), opts.AllowExpired); err != nil {
		return nil, err
	}
	return c, c.describe()
}

func (m *mirror) readChannel(ctx context.Context, now *publishedState, name string) (*metadata.Channel, error) {
	if err := metadata.CheckChannel(name); err != nil {
		return nil, badValue(err)
	}
	channel, err := now.readChannel(ctx, metadata.ChannelTarget(name))
	if errors.Is(err, ErrNotFound) {
		return nil, refuse(ReasonNoChannel, "list shows which channels there are", "channel %s: %w", name, err)
	}
	if err == nil && channel.Name != name {
		err = invalid("the file of channel %s calls itself %s", name, channel.Name)
	}
	return channel, err
}

// addRelease adds a release's manifest and the files that it names, which the
// signed metadata must agree with, as clients check it.
func (c *bundleContents) addRelease(ctx context.Context, now *publishedState, arch string, ref metadata.ReleaseRef, step bool) error {
	if err := c.addTarget(ctx, now, ref.Target, string(ref.SHA256)); err != nil {
		return fmt.Errorf("channel %s (%s): %w", c.about.Channel, arch, err)
	}
	data, err := now.readTarget(ctx, ref.Target)
	if err != nil {
		return err
	}
	release, err := metadata.ParseRelease(data)
	if err != nil {
		return invalid("target %s: %w", ref.Target, err)
	}
	for _, a := range release.Targets() {
		if err := c.addTarget(ctx, now, a.Target, a.SHA256); err != nil {
			return fmt.Errorf("release %s (%s): %w", ref.Version, arch, err)
		}
	}
	c.about.Releases = append(c.about.Releases, BundleRelease{ref.Version, arch, ref.SHA256, step})
	return nil
}

// addTarget adds a target, which must have the given hash, unless that is "".
func (c *bundleContents) addTarget(ctx context.Context, now *publishedState, name, sum string) error {
	a, ok, err := now.target(ctx, name)
	switch {
	case err != nil:
		return err
	case !ok:
		return invalid("target %s: %w", name, ErrNotFound)
	case sum != "" && a.SHA256 != sum:
		return invalid("the signed target %s has SHA-256 %s, not %s", name, a.SHA256, sum)
	case metadata.CheckTarget(name) != nil:
		return invalid("%w", metadata.CheckTarget(name))
	}
	if !slices.Contains(c.targets, a) {
		c.targets = append(c.targets, a)
	}
	return nil
}

// addMetadata adds the metadata that was needed to find the targets, of which
// nothing may have expired.
func (c *bundleContents) addMetadata(ctx context.Context, now *publishedState, at time.Time, allowExpired bool) error {
	var used []liveRole
	for _, role := range now.roles {
		used = append(used, liveRole{role.name, role.parent})
	}
	var err error
	c.about.Expires, err = now.checkExpiry(ctx, at, used)
	if err != nil && (!allowExpired || !isExpired(err)) {
		return err
	}
	for i, root := range now.row {
		c.roots = append(c.roots, file{versionedFile(Root, int64(i)+1), root.data})
	}
	for _, r := range append(used, liveRole{Snapshot, Root}) {
		name := versionedFile(r.name, now.version(r.name))
		c.roles = append(c.roles, file{name, now.raw.data(name)})
	}
	slices.SortFunc(c.roles, func(a, b file) int { return strings.Compare(a.name, b.name) })
	c.timestamp = file{timestampFile, now.timestampData}
	return nil
}

func isExpired(err error) bool {
	var invalid *InvalidError
	return errors.As(err, &invalid) && invalid.Reason == reasonExpired
}

// describe makes bundle.json, the same for the same contents.
func (c *bundleContents) describe() error {
	small := slices.Concat(c.roots, c.roles, []file{c.timestamp})
	c.about.Files = len(small) + len(c.targets)
	for _, f := range small {
		c.about.Bytes += int64(len(f.data))
	}
	for _, a := range c.targets {
		c.about.Bytes += a.Length
	}
	var err error
	c.aboutData, err = encodeBundled(c.about)
	return err
}

// names returns the names of all files but bundle.json.
func (c *bundleContents) names() map[string]bool {
	names := make(map[string]bool)
	for _, f := range slices.Concat(c.roots, c.roles, []file{c.timestamp}) {
		names[f.name] = true
	}
	for _, a := range c.targets {
		names[targetFile(a.Target, a.SHA256)] = true
	}
	return names
}

// maxFAT is the size from which on a file does not fit a FAT file system.
const maxFAT = 4 << 30

func (m *mirror) warnLarge(name string, size int64) {
	if size >= maxFAT {
		m.logger.Warn("this file does not fit a stick with a FAT file system: use exFAT or ext4", "file", path.Base(name), "bytes", size)
	}
}
