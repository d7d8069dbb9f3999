package repository

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"tufboot/metadata"
)

// PromoteOptions say which release goes from one channel to another.
type PromoteOptions struct {
	Version  string // "": what From points to
	Arch     string // "": all architectures that From has it for
	From, To string
	Pointing
	Keys Signers // of the channel To
}

// Promote points a channel to a release that another channel points to: what
// was tried is what is given to more. Nothing is uploaded, and the other channel
// stays as it is.
func (r *Repository) Promote(ctx context.Context, opts PromoteOptions) (*ChannelChange, error) {
	if err := metadata.CheckChannel(opts.From); err != nil {
		return nil, badValue(err)
	}
	deltas := make(map[string][]Delta)
	result, err := r.changeChannel(ctx, opts.To, opts.Keys, func(e *Edit, to *metadata.Channel) error {
		from, err := e.channel(ctx, opts.From)
		if err != nil {
			return err
		}
		found := false
		for _, arch := range slices.Sorted(maps.Keys(from.Releases)) {
			ref := from.Releases[arch]
			if opts.Arch != "" && arch != opts.Arch || opts.Version != "" && ref.Version != opts.Version {
				continue
			}
			found = true
			p := opts.Pointing
			if p.Minimum == "" {
				p.Minimum = ref.Minimum
			}
			if _, err := e.point(ctx, to, arch, ref, p); err != nil {
				return err
			}
			if deltas[arch], err = e.deltasTo(ctx, ref, to.Previous[arch]); err != nil {
				return err
			}
		}
		if !found {
			return refuse(ReasonNoRelease, "list shows where the channels point; publish with --channel points one to any release",
				"channel %s does not point to %s", opts.From, describe(opts.Version, opts.Arch))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, p := range result.Pointers {
		if p.From != p.To {
			result.Pointers[i].Deltas = deltas[p.Arch]
		}
	}
	return result, nil
}

// describe says for people which release is meant; "" is any.
func describe(version, arch string) string {
	text := "release " + version
	if version == "" {
		text = "any release"
	}
	if arch != "" {
		text += " for " + arch
	}
	return text
}

// WithdrawOptions say which release a channel takes back.
type WithdrawOptions struct {
	Version string
	Channel string
	Arch    string // "": all architectures
	To      string // the version to go back to; "": the one before
	// Empty points the channel to nothing where there is no release to go back to.
	Empty bool
	Keys  Signers
}

// Withdraw takes a release back from a channel. Where the channel points to it,
// it goes back to what it pointed to before, at once and for all nodes, and
// nodes follow it; where it is a step, it is none any more. It is never gone back
// to later.
func (r *Repository) Withdraw(ctx context.Context, opts WithdrawOptions) (*ChannelChange, error) {
	if err := metadata.CheckVersion(opts.Version); err != nil {
		return nil, badValue(err)
	}
	return r.changeChannel(ctx, opts.Channel, opts.Keys, func(e *Edit, c *metadata.Channel) error {
		found := false
		for _, arch := range architectures(c, nil) {
			if opts.Arch != "" && arch != opts.Arch {
				continue
			}
			was, err := e.withdraw(ctx, c, arch, opts)
			if err != nil {
				return err
			}
			found = found || was
		}
		if !found {
			return refuse(ReasonNoRelease, "list shows where the channels point",
				"channel %s neither points nor pointed to %s", opts.Channel, describe(opts.Version, opts.Arch))
		}
		return nil
	})
}

// withdraw takes a release back for one architecture, and reports whether the
// channel had it.
func (e *Edit) withdraw(ctx context.Context, c *metadata.Channel, arch string, opts WithdrawOptions) (bool, error) {
	had := false
	steps := slices.DeleteFunc(slices.Clone(c.Steps[arch]), func(s metadata.ReleaseRef) bool {
		is := s.Version == opts.Version
		had = had || is
		return is
	})
	for i, p := range c.Previous[arch] {
		if p.Version == opts.Version {
			c.Previous[arch][i].Withdrawn = true
			had = true
		}
	}
	if current := c.Releases[arch]; current.Version == opts.Version {
		e.rememberPointer(c, arch, current, true)
		back, ok, err := e.before(ctx, c, arch, opts)
		if err != nil {
			return true, err
		}
		if delete(c.Releases, arch); ok {
			c.Releases[arch] = back
		}
		had = true
	}
	setSteps(c, arch, steps)
	back, ok := c.Releases[arch]
	if !ok {
		setSteps(c, arch, nil)
		return had, nil
	}
	// The steps to what the channel points to now, without the one taken back.
	steps, err := e.steps(ctx, c, arch, back, nil)
	if err != nil {
		return had, err
	}
	setSteps(c, arch, steps)
	return had, reachable(c, arch)
}

// before returns the release to go back to: the one named, else the latest that
// the channel pointed to, that was not withdrawn and is still there.
func (e *Edit) before(ctx context.Context, c *metadata.Channel, arch string, opts WithdrawOptions) (metadata.ReleaseRef, bool, error) {
	if opts.To != "" {
		ref, err := e.ref(ctx, opts.To, arch)
		if err != nil {
			return ref, false, err
		}
		return ref, true, checkBack(c, arch, ref, opts)
	}
	for _, p := range c.Previous[arch] {
		if p.Withdrawn {
			continue
		}
		if a, ok, err := e.Target(ctx, p.Target); err != nil {
			return metadata.ReleaseRef{}, false, err
		} else if ok && a.SHA256 == string(p.SHA256) {
			return p.Ref(), true, nil
		}
	}
	if opts.Empty {
		return metadata.ReleaseRef{}, false, nil
	}
	return metadata.ReleaseRef{}, false, refuse(ReasonNoRelease,
		"name a release with --back-to, or leave the channel without one with --leave-empty: nodes then keep what they run",
		"channel %s has no release for %s to go back to", c.Name, arch)
}

// checkBack refuses to go back to what was taken back too, or up.
func checkBack(c *metadata.Channel, arch string, ref metadata.ReleaseRef, opts WithdrawOptions) error {
	switch {
	case opts.To == opts.Version || withdrawn(c, arch, ref.SHA256):
		return refuse(ReasonChannelMoved, "go back to another one", "release %s (%s) is withdrawn from channel %s itself", opts.To, arch, c.Name)
	case metadata.CompareVersions(opts.To, opts.Version) > 0:
		return refuse(ReasonChannelMoved, "use publish or promote, which can roll it out", "release %s is above %s: a withdrawal goes back", opts.To, opts.Version)
	}
	return nil
}

// RolloutOptions change how the release that a channel points to reaches its
// nodes. Exactly one of Pause, Finish and Waves is meant.
type RolloutOptions struct {
	Channel string
	Arch    string          // "": all architectures
	Pause   bool            // no more nodes than have it now
	Finish  bool            // all nodes from now on
	Waves   []metadata.Wave // empty, and not nil: to nobody
	Keys    Signers
}

// Rollout pauses, finishes or plans anew the rollout of what a channel points to.
func (r *Repository) Rollout(ctx context.Context, opts RolloutOptions) (*ChannelChange, error) {
	if !opts.Pause && !opts.Finish && opts.Waves == nil {
		return nil, badValue(fmt.Errorf("rollout of channel %s: no waves: %w", opts.Channel, metadata.ErrFormat))
	}
	return r.changeChannel(ctx, opts.Channel, opts.Keys, func(e *Edit, c *metadata.Channel) error {
		found := false
		for arch, ref := range c.Releases {
			if opts.Arch != "" && arch != opts.Arch {
				continue
			}
			found = true
			switch {
			case opts.Pause && ref.Rollout == nil:
				return refuse(ReasonChannelMoved, "to take it back use withdraw", "all nodes of channel %s may have release %s (%s) already", c.Name, ref.Version, arch)
			case opts.Pause:
				ref.Rollout = ref.Rollout.Pause(e.repo.clock())
			case opts.Finish:
				ref.Rollout = nil
			default:
				ref.Rollout = e.rollout(opts.Waves)
			}
			c.Releases[arch] = ref
		}
		if !found {
			return refuse(ReasonNoRelease, "list shows where the channels point", "channel %s does not point to %s", opts.Channel, describe("", opts.Arch))
		}
		return nil
	})
}

// SetMaintenance sets or, with nil, removes the hint when the nodes of a channel
// had better be updated.
func (r *Repository) SetMaintenance(ctx context.Context, channel string, m *metadata.Maintenance, keys Signers) (*ChannelChange, error) {
	return r.changeChannel(ctx, channel, keys, func(_ *Edit, c *metadata.Channel) error {
		c.Maintenance = m
		return nil
	})
}
