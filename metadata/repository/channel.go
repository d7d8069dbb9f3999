package repository

import (
	"context"
	"errors"
	"slices"
	"time"

	"tufboot/metadata"
)

// Pointing says how a release reaches the nodes of the channel that is to point
// to it.
type Pointing struct {
	// Rollout gives it to more and more of the nodes from now on; nil: to all at
	// once; empty: to nobody yet.
	Rollout []metadata.Wave
	// Minimum is the lowest version that may be updated to it directly; "": any.
	Minimum string
	// Steps are versions that nodes below Minimum go through first, besides those
	// that the channel has already.
	Steps []string
	// Back allows that the channel goes back to a lower version.
	Back bool
}

// point points a channel to a release for one architecture and writes down what
// it pointed to before. changed is false if it points there already: how its
// nodes get there is then steered by Rollout, so that a job that runs twice
// neither finishes a rollout nor starts it anew.
func (e *Edit) point(ctx context.Context, channel *metadata.Channel, arch string, ref metadata.ReleaseRef, p Pointing) (changed bool, err error) {
	old, has := channel.Releases[arch]
	if has && old.SHA256 == ref.SHA256 {
		return false, samePointing(channel, old, p)
	}
	if err := checkPointing(channel, arch, ref, p); err != nil {
		return false, err
	}
	ref.Minimum, ref.Rollout = p.Minimum, e.rollout(p.Rollout)
	steps, err := e.steps(ctx, channel, arch, ref, p.Steps)
	if err != nil {
		return false, err
	}
	if has {
		e.rememberPointer(channel, arch, old, false)
	}
	setSteps(channel, arch, steps)
	channel.Releases[arch] = ref
	return true, reachable(channel, arch)
}

// samePointing refuses to change by the way how the nodes of a channel get to the
// release that it points to.
func samePointing(channel *metadata.Channel, old metadata.ReleaseRef, p Pointing) error {
	var waves []metadata.Wave
	if old.Rollout != nil {
		waves = old.Rollout.Waves
	}
	if p.Rollout != nil && (old.Rollout == nil || !slices.Equal(p.Rollout, waves)) || p.Minimum != "" && p.Minimum != old.Minimum {
		return refuse(ReasonChannelMoved, "steer its rollout with: channel rollout; another minimum needs another release",
			"channel %s points to %s already, with another rollout or minimum", channel.Name, old.Version)
	}
	return nil
}

// checkPointing refuses what nobody wants by mistake: a lower version, or a
// release that was taken back.
func checkPointing(channel *metadata.Channel, arch string, ref metadata.ReleaseRef, p Pointing) error {
	if p.Back {
		return nil
	}
	if old, has := channel.Releases[arch]; has && metadata.CompareVersions(ref.Version, old.Version) < 0 {
		return refuse(ReasonChannelMoved, "to take a release back use withdraw; to point the channel to a lower version all the same, add --move-channel; note that 1.5.0~rc1 is below 1.5.0, and 1.5.0-rc1 is above it",
			"channel %s points to %s for %s, which is above %s", channel.Name, old.Version, arch, ref.Version)
	}
	if withdrawn(channel, arch, ref.SHA256) {
		return refuse(ReasonChannelMoved, "publish a mended release; to point the channel to this one all the same, add --move-channel",
			"release %s (%s) was withdrawn from channel %s", ref.Version, arch, channel.Name)
	}
	return nil
}

// withdrawn reports whether a release was taken back from a channel.
func withdrawn(channel *metadata.Channel, arch string, id metadata.ID) bool {
	return slices.ContainsFunc(channel.Previous[arch], func(p metadata.PastRef) bool { return p.SHA256 == id && p.Withdrawn })
}

// rollout starts waves now.
func (e *Edit) rollout(waves []metadata.Wave) *metadata.Rollout {
	if waves == nil {
		return nil
	}
	return &metadata.Rollout{Start: e.repo.clock(), Waves: waves}
}

// rememberPointer writes down what a channel pointed to, the latest first, each
// release once.
func (e *Edit) rememberPointer(channel *metadata.Channel, arch string, old metadata.ReleaseRef, withdrawn bool) {
	past := slices.DeleteFunc(channel.Previous[arch], func(p metadata.PastRef) bool { return p.SHA256 == old.SHA256 })
	past = slices.Insert(past, 0, metadata.PastRef{
		Version: old.Version, Target: old.Target, SHA256: old.SHA256, Minimum: old.Minimum, Until: e.repo.clock(), Withdrawn: withdrawn,
	})
	if len(past) > metadata.MaxPrevious {
		past = past[:metadata.MaxPrevious]
	}
	if channel.Previous == nil {
		channel.Previous = make(map[string][]metadata.PastRef)
	}
	channel.Previous[arch] = past
}

// steps returns the releases that nodes below the minimum go through: those of
// the channel, what it pointed to until now, and those named.
func (e *Edit) steps(ctx context.Context, channel *metadata.Channel, arch string, ref metadata.ReleaseRef, named []string) ([]metadata.ReleaseRef, error) {
	if ref.Minimum == "" {
		if len(named) > 0 {
			return nil, refuse(ReasonNoPath, "give the minimum version that the steps lead to", "steps without a minimum version")
		}
		return nil, nil
	}
	candidates := slices.Clone(channel.Steps[arch])
	if old, ok := channel.Releases[arch]; ok {
		candidates = append(candidates, old)
	}
	// A release without a minimum needed no steps; one that needs some again finds
	// them in what the channel pointed to.
	for _, p := range channel.Previous[arch] {
		if _, ok, err := e.Target(ctx, p.Target); err != nil {
			return nil, err
		} else if ok {
			candidates = append(candidates, p.Ref())
		}
	}
	for _, version := range named {
		step, err := e.ref(ctx, version, arch)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, step)
	}
	var steps []metadata.ReleaseRef
	for _, step := range candidates {
		same := func(s metadata.ReleaseRef) bool { return metadata.CompareVersions(s.Version, step.Version) == 0 }
		if metadata.CompareVersions(step.Version, ref.Version) >= 0 || slices.ContainsFunc(steps, same) {
			continue
		}
		if withdrawn(channel, arch, step.SHA256) {
			if slices.Contains(named, step.Version) {
				return nil, refuse(ReasonChannelMoved, "name another one", "step %s was withdrawn from channel %s", step.Version, channel.Name)
			}
			continue
		}
		step.Rollout = nil // who is that far behind does not wait
		steps = append(steps, step)
	}
	slices.SortFunc(steps, func(a, b metadata.ReleaseRef) int { return metadata.CompareVersions(a.Version, b.Version) })
	steps = neededSteps(steps, ref.Minimum, named)
	if n := len(steps) - metadata.MaxSteps; n > 0 {
		steps = steps[n:]
	}
	return steps, nil
}

// neededSteps returns of sorted steps those that were named, and those that lead
// up to the minimum: the highest that reaches it, the highest that reaches that
// one's own minimum, and so on.
func neededSteps(steps []metadata.ReleaseRef, minimum string, named []string) []metadata.ReleaseRef {
	var needed []metadata.ReleaseRef
	for _, step := range slices.Backward(steps) {
		leads := minimum != "" && metadata.CompareVersions(step.Version, minimum) >= 0
		if leads {
			minimum = step.Minimum
		}
		if leads || slices.Contains(named, step.Version) {
			needed = append(needed, step)
		}
	}
	slices.Reverse(needed)
	return needed
}

func setSteps(channel *metadata.Channel, arch string, steps []metadata.ReleaseRef) {
	if channel.Steps == nil {
		channel.Steps = make(map[string][]metadata.ReleaseRef)
	}
	if delete(channel.Steps, arch); len(steps) > 0 {
		channel.Steps[arch] = steps
	}
}

// reachable refuses a channel that would leave nodes on one of its earlier
// releases without a way to the present one: nobody would walk to them.
func reachable(channel *metadata.Channel, arch string) error {
	for _, past := range channel.Previous[arch] {
		if metadata.CompareVersions(past.Version, channel.Releases[arch].Version) >= 0 {
			continue
		}
		if _, err := channel.Choose(arch, past.Version); errors.Is(err, metadata.ErrNoPath) {
			return refuse(ReasonNoPath, "name a release in between with --step, or use a lower minimum", "nodes on release %s: %w", past.Version, err)
		}
	}
	return nil
}

// ref returns the pointer to a release that the repository has.
func (e *Edit) ref(ctx context.Context, version, arch string) (metadata.ReleaseRef, error) {
	name := metadata.ReleaseTarget(version, arch, metadata.ManifestFile)
	a, ok, err := e.Target(ctx, name)
	if err != nil {
		return metadata.ReleaseRef{}, err
	}
	if !ok {
		return metadata.ReleaseRef{}, refuse(ReasonNoRelease, "list shows what there is", "release %s for %s: %w", version, arch, ErrNotFound)
	}
	return metadata.ReleaseRef{Version: version, Target: name, SHA256: metadata.ID(a.SHA256)}, nil
}

// writeChannel puts a changed channel file into the repository.
func (e *Edit) writeChannel(ctx context.Context, channel *metadata.Channel) error {
	data, err := channel.Encode()
	if err != nil {
		return badValue(err) // it was right when it was read
	}
	_, err = e.AddBytes(ctx, metadata.ChannelTarget(channel.Name), data)
	return err
}

// channel reads a channel file, or returns an empty one.
func (e *Edit) channel(ctx context.Context, name string) (*metadata.Channel, error) {
	channel, err := e.state.readChannel(ctx, metadata.ChannelTarget(name))
	if errors.Is(err, ErrNotFound) {
		channel = &metadata.Channel{Schema: metadata.Schema, Name: name}
	} else if err != nil {
		return nil, err
	}
	if channel.Releases == nil {
		channel.Releases = make(map[string]metadata.ReleaseRef)
	}
	return channel, nil
}

// Channel returns a channel as it is published. One that is not there is refused
// with [ReasonNoChannel], in an error that wraps [ErrNotFound].
func (r *Repository) Channel(ctx context.Context, name string) (*metadata.Channel, error) {
	if err := metadata.CheckChannel(name); err != nil {
		return nil, badValue(err)
	}
	st, err := load(ctx, r.store)
	if err != nil {
		return nil, err
	}
	channel, err := st.readChannel(ctx, metadata.ChannelTarget(name))
	if errors.Is(err, ErrNotFound) {
		return nil, refuse(ReasonNoChannel, "list shows which channels there are", "channel %s: %w", name, ErrNotFound)
	}
	return channel, err
}

// ChannelChange is what a command did to a channel.
type ChannelChange struct {
	Channel  string           `json:"channel"`
	Changed  bool             `json:"changed"`       // false: it was like that already
	New      bool             `json:"new,omitempty"` // there was no such channel before
	Pointers []ArchPointer    `json:"pointers"`
	At       time.Time        `json:"at"`
	Versions Versions         `json:"versions"`
	Was      metadata.Channel `json:"-"`
	Now      metadata.Channel `json:"-"`
}

// ArchPointer is where a channel pointed and points for an architecture; ""
// is nowhere.
type ArchPointer struct {
	Arch string `json:"arch"`
	From string `json:"from"`
	To   string `json:"to"`
	// Deltas is what nodes on the channel's last releases download, where it points to
	// a release anew.
	Deltas []Delta `json:"deltas,omitempty"`
}

// changeChannel lets change work on a channel and publishes what it did.
func (r *Repository) changeChannel(ctx context.Context, name string, keys Signers, change func(e *Edit, c *metadata.Channel) error) (*ChannelChange, error) {
	if err := metadata.CheckChannel(name); err != nil {
		return nil, badValue(err)
	}
	e, err := r.Edit(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	channel, err := e.channel(ctx, name)
	if err != nil {
		return nil, err
	}
	before, err := channel.Encode()
	if err != nil {
		return nil, invalid("%s: %w", metadata.ChannelTarget(name), err)
	}
	was, err := metadata.ParseChannel(before)
	if err != nil {
		return nil, invalid("%s: %w", metadata.ChannelTarget(name), err)
	}
	_, known, err := e.Target(ctx, metadata.ChannelTarget(name))
	if err != nil {
		return nil, err
	}
	result := &ChannelChange{Channel: name, New: !known, At: r.clock(), Pointers: []ArchPointer{}, Was: *was}
	old := make(map[string]string)
	for arch, ref := range channel.Releases {
		old[arch] = ref.Version
	}
	if err := change(e, channel); err != nil {
		return nil, err
	}
	after, err := channel.Encode()
	if err != nil {
		return nil, badValue(err)
	}
	if result.Changed = string(before) != string(after); result.Changed {
		if err := e.UnlockFor(ctx, keys, metadata.ChannelTarget(name)); err != nil {
			return nil, err
		}
		if err := e.writeChannel(ctx, channel); err != nil {
			return nil, err
		}
	}
	for _, arch := range architectures(channel, old) {
		result.Pointers = append(result.Pointers, ArchPointer{Arch: arch, From: old[arch], To: channel.Releases[arch].Version})
	}
	result.Now = *channel
	result.Versions, err = e.Commit(ctx, keys)
	return result, err
}

func architectures(channel *metadata.Channel, old map[string]string) []string {
	var names []string
	for arch := range channel.Releases {
		names = append(names, arch)
	}
	for arch := range channel.Previous {
		if !slices.Contains(names, arch) {
			names = append(names, arch)
		}
	}
	for arch := range old {
		if !slices.Contains(names, arch) {
			names = append(names, arch)
		}
	}
	slices.Sort(names)
	return names
}
