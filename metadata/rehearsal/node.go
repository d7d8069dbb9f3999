package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/client"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// node is a client with its folder of kept metadata.
type node struct {
	name string // for people
	root []byte // that it is built with
	dir  string
	// held is the most that it has held. Clients forget what was signed by a key
	// that is gone, and people do not.
	held holding
}

// visit is a node that has refreshed, and may be asked.
type visit struct {
	client    *client.Client
	transport *transport
	thorough  bool
	holds     holding
	releases  map[pointer]found // nil: it was not asked
}

// pointer is what a node asks for; arch is "" where the channel itself cannot be
// read.
type pointer struct{ channel, arch string }

func (p pointer) String() string {
	if p.arch == "" {
		return "channel " + p.channel
	}
	return fmt.Sprintf("channel %s (%s)", p.channel, p.arch)
}

// found is the release that a channel leads to.
type found struct {
	id  metadata.ID // that the channel names, also where err is set
	err error
}

// refresh lets the node refresh its metadata.
func (n *node) refresh(ctx context.Context, from storage.Reader, now time.Time) (*visit, error) {
	t := &transport{from: from}
	c, err := client.New(client.Options{
		Server: server, Root: n.root, Dir: n.dir, Transport: t,
		Now: func() time.Time { return now },
	})
	if err == nil {
		err = t.guard(ctx, c.Refresh)
	}
	if err != nil {
		return nil, t.explain(err)
	}
	return &visit{client: c, transport: t, holds: n.holds()}, nil
}

// ask lets the node resolve channels. The error is that of the store; what goes
// wrong with a channel is in the visit. With thorough it also takes the ways of
// nodes on old releases, and looks whether the payload is there.
func (v *visit) ask(ctx context.Context, channels []repository.PublishedChannel, thorough bool) error {
	v.thorough, v.releases = thorough, make(map[pointer]found)
	return v.transport.guard(ctx, func(ctx context.Context) error {
		for _, channel := range channels {
			v.resolveAll(ctx, channel)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		return nil
	})
}

// look is refresh and ask.
func (n *node) look(ctx context.Context, from storage.Reader, now time.Time, channels []repository.PublishedChannel, thorough bool) (*visit, error) {
	v, err := n.refresh(ctx, from, now)
	if err == nil {
		err = v.ask(ctx, channels, thorough)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// explain makes the error of a file that is missing name the file, and not the
// address that there is none.
func (t *transport) explain(err error) error {
	var n *client.NetworkError
	if errors.As(err, &n) && n.Status == http.StatusNotFound && t.missing != "" {
		return missing(t.missing)
	}
	return err
}

func missing(name string) error {
	return &repository.InvalidError{Reason: repository.ReasonBadRepository, Err: fmt.Errorf("%s is missing", name)}
}

func (v *visit) resolveAll(ctx context.Context, channel repository.PublishedChannel) {
	if channel.Err != nil {
		v.releases[pointer{channel.Name, ""}] = found{err: channel.Err}
		return
	}
	for _, arch := range slices.Sorted(maps.Keys(channel.Channel.Releases)) {
		f := found{id: channel.Channel.Releases[arch].SHA256}
		f.err = v.resolve(ctx, channel.Channel, arch, "")
		if v.thorough {
			for _, booted := range oldVersions(channel.Channel, arch) {
				if f.err == nil {
					f.err = v.resolve(ctx, channel.Channel, arch, booted)
				}
			}
		}
		v.releases[pointer{channel.Name, arch}] = f
	}
}

// oldVersions returns versions that nodes of a channel may run and that lead to
// each of its steps.
func oldVersions(c *metadata.Channel, arch string) []string {
	var versions []string
	for _, step := range c.Steps[arch] {
		versions = append(versions, step.Version)
		if step.Minimum != "" {
			versions = append(versions, step.Minimum)
		}
	}
	if len(versions) == 0 {
		return nil // all go to the channel's release
	}
	for _, past := range c.Previous[arch] {
		versions = append(versions, past.Version)
	}
	slices.Sort(versions)
	return slices.Compact(versions)
}

// resolve lets a node that runs version booted look for its release.
func (v *visit) resolve(ctx context.Context, channel *metadata.Channel, arch, booted string) error {
	got, err := v.client.ResolveFor(ctx, channel.Name, arch, booted)
	if errors.Is(err, metadata.ErrNoPath) {
		return nil // promote decides who may be left behind
	}
	if err != nil {
		return v.transport.explain(err)
	}
	want, err := channel.Choose(arch, booted)
	if err != nil {
		return err
	}
	if got.ID != want.SHA256 {
		return fmt.Errorf("it leads to release %s (%s), and should to %s (%s)",
			got.Release.Version, got.ID.Short(), want.Version, want.SHA256.Short())
	}
	if !v.thorough {
		return nil
	}
	for _, artifact := range got.Release.Targets() {
		if err := v.transport.present(ctx, artifact); err != nil {
			return err
		}
	}
	return nil
}

// present checks that a target's bytes are there, as far as that can be told
// without reading them.
func (t *transport) present(ctx context.Context, a metadata.Artifact) error {
	name := path.Join(metadata.TargetsDir, metadata.HashedPath(a.Target, a.SHA256))
	info, err := t.from.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return missing(name)
	} else if err != nil {
		t.stop(err)
		return err
	}
	if info.Size >= 0 && info.Size != a.Length {
		return &repository.InvalidError{Reason: client.ReasonBadLength, Err: fmt.Errorf("%s has %d bytes, not %d", name, info.Size, a.Length)}
	}
	return nil
}
