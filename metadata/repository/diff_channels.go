package repository

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"tufboot/metadata"
)

// ChannelDiff is what is different about a channel (Arch is "" then) or about
// where it points to for an architecture. What is the same is nil.
type ChannelDiff struct {
	Channel string `json:"channel"`
	Arch    string `json:"arch,omitempty"`
	Change  string `json:"change"` // Added, Removed or Changed
	// Release is where the channel pointed to and points to.
	Release *FromTo[ReleasePointer]    `json:"release,omitempty"`
	Rollout *FromTo[*metadata.Rollout] `json:"rollout,omitempty"` // null: all nodes at once
	Minimum *FromTo[string]            `json:"minimum,omitempty"`
	Steps   *FromTo[[]string]          `json:"steps,omitempty"` // versions
	// Role is the role that signs the channel.
	Role        *FromTo[string]                `json:"role,omitempty"`
	Maintenance *FromTo[*metadata.Maintenance] `json:"maintenance,omitempty"`
	// Unreadable says why the channel's file cannot be read, on either side.
	Unreadable *FromTo[string] `json:"unreadable,omitempty"`
}

// ReleasePointer is a release as a channel names it.
type ReleasePointer struct {
	Version string      `json:"version"`
	ID      metadata.ID `json:"id"`
}

// compareChannels compares what the channels say.
func (d *Diff) compareChannels(ctx context.Context, a, b *state) error {
	was, err := channelsByName(ctx, a)
	if err != nil {
		return err
	}
	is, err := channelsByName(ctx, b)
	if err != nil {
		return err
	}
	names := maps.Clone(was)
	maps.Copy(names, is)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, had := was[name]
		after, has := is[name]
		switch {
		case !has:
			d.Channels = append(d.Channels, ChannelDiff{Channel: name, Change: Removed})
		case !had:
			d.Channels = append(d.Channels, ChannelDiff{Channel: name, Change: Added})
		}
		if had && has {
			d.compareFiles(before, after)
		}
		d.comparePointers(name, before.Channel, after.Channel)
	}
	return nil
}

func channelsByName(ctx context.Context, st *state) (map[string]PublishedChannel, error) {
	channels, err := st.channels(ctx)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]PublishedChannel, len(channels))
	for _, c := range channels {
		if c.Channel == nil {
			c.Channel = &metadata.Channel{Name: c.Name}
		}
		byName[c.Name] = c
	}
	return byName, nil
}

// compareFiles compares what is said of a channel as a whole.
func (d *Diff) compareFiles(a, b PublishedChannel) {
	c := ChannelDiff{Channel: a.Name, Change: Changed, Role: different(a.Role, b.Role)}
	if !reflect.DeepEqual(a.Channel.Maintenance, b.Channel.Maintenance) {
		c.Maintenance = &FromTo[*metadata.Maintenance]{a.Channel.Maintenance, b.Channel.Maintenance}
	}
	if a.Err != nil || b.Err != nil {
		c.Unreadable = &FromTo[string]{textOf(a.Err), textOf(b.Err)}
	}
	if c.Role != nil || c.Maintenance != nil || c.Unreadable != nil {
		d.Channels = append(d.Channels, c)
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// comparePointers compares a channel's releases; nil for no channel.
func (d *Diff) comparePointers(name string, a, b *metadata.Channel) {
	if a == nil {
		a = new(metadata.Channel)
	}
	if b == nil {
		b = new(metadata.Channel)
	}
	archs := maps.Clone(a.Releases)
	if archs == nil {
		archs = make(map[string]metadata.ReleaseRef)
	}
	maps.Copy(archs, b.Releases)
	for _, arch := range slices.Sorted(maps.Keys(archs)) {
		before, had := a.Releases[arch]
		after, has := b.Releases[arch]
		c := ChannelDiff{
			Channel: name, Arch: arch, Change: Changed,
			Release: different(ReleasePointer{before.Version, before.SHA256}, ReleasePointer{after.Version, after.SHA256}),
			Minimum: different(before.Minimum, after.Minimum),
		}
		if !reflect.DeepEqual(before.Rollout, after.Rollout) {
			c.Rollout = &FromTo[*metadata.Rollout]{before.Rollout, after.Rollout}
		}
		if x, y := stepsOf(a, arch), stepsOf(b, arch); !slices.Equal(x, y) {
			c.Steps = &FromTo[[]string]{x, y}
		}
		switch {
		case !had:
			c.Change = Added
		case !has:
			c.Change = Removed
		}
		if c.Release != nil || c.Minimum != nil || c.Rollout != nil || c.Steps != nil {
			d.Channels = append(d.Channels, c)
		}
	}
}

func stepsOf(c *metadata.Channel, arch string) []string {
	steps := []string{}
	for _, s := range c.Steps[arch] {
		steps = append(steps, s.Version)
	}
	return steps
}
