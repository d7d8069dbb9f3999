package repository

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// Diff is what is different in one state of a repository, or in one repository,
// against another.
type Diff struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Equal says that nothing is different for clients, the same signatures
	// included.
	Equal    bool          `json:"equal"`
	Roles    []RoleDiff    `json:"roles"`
	Channels []ChannelDiff `json:"channels"`
	Releases []ReleaseDiff `json:"releases"`
	// Targets are those that belong to no release and no channel, and those of
	// any kind whose content is another one under the same name.
	Targets []TargetDiff `json:"targets"`
}

// ReasonNoState is the reason code for a past state that is not known.
const ReasonNoState = "no-such-state"

// Kinds of differences.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// ReleaseDiff is a release that is on one side only.
type ReleaseDiff struct {
	Change  string      `json:"change"` // Added or Removed
	Version string      `json:"version"`
	Arch    string      `json:"arch"`
	ID      metadata.ID `json:"id"`
}

// TargetDiff is a target that is different. Changed is a warning for all but
// channels, which are not listed here: a name's content must stay the same.
type TargetDiff struct {
	Change     string `json:"change"`
	Target     string `json:"target"`
	FromSHA256 string `json:"from_sha256,omitempty"`
	ToSHA256   string `json:"to_sha256,omitempty"`
}

// Compare returns what is different in to against from. Both are verified, but
// for expiry. Roles that are the same on both sides are not read.
func Compare(ctx context.Context, from, to storage.Reader) (*Diff, error) {
	d, err := compareStates(ctx, from, to)
	for _, side := range []storage.Reader{from, to} {
		if !errors.Is(err, fs.ErrNotExist) || !isInvalid(err) {
			break
		}
		if b, bundleErr := ReadBundled(ctx, side); bundleErr == nil && b != nil {
			return nil, &InvalidError{Reason: ReasonBadRepository, Advice: "compare the repository that it was made from",
				Err: fmt.Errorf("%s is a bundle of channel %s, and lacks what is to be compared: %w", side, b.Channel, err)}
		}
	}
	return d, err
}

func compareStates(ctx context.Context, from, to storage.Reader) (_ *Diff, err error) {
	defer recoverMalformed(&err)
	a, err := load(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	b, err := load(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", to, err)
	}
	d := &Diff{
		From: from.String(), To: to.String(),
		Roles: []RoleDiff{}, Channels: []ChannelDiff{}, Releases: []ReleaseDiff{}, Targets: []TargetDiff{},
	}
	for _, compare := range []func(context.Context, *state, *state) error{d.compareRoles, d.compareTargets, d.compareChannels} {
		if err := compare(ctx, a, b); err != nil {
			return nil, err
		}
	}
	d.Equal = len(d.Roles)+len(d.Channels)+len(d.Releases)+len(d.Targets) == 0
	return d, nil
}

// compareTargets compares releases and other targets.
func (d *Diff) compareTargets(ctx context.Context, a, b *state) error {
	names, err := differing(ctx, a, b)
	if err != nil {
		return err
	}
	for _, name := range names {
		if isChannel(name) {
			continue // compared by what they say
		}
		was, had, err := a.target(ctx, name)
		if err != nil {
			return err
		}
		is, has, err := b.target(ctx, name)
		if err != nil {
			return err
		}
		switch {
		case had && has && was != is:
			d.Targets = append(d.Targets, TargetDiff{Changed, name, was.SHA256, is.SHA256})
		case had && !has:
			d.one(Removed, was)
		case !had && has:
			d.one(Added, is)
		}
	}
	slices.SortFunc(d.Releases, func(a, b ReleaseDiff) int {
		return cmp.Or(metadata.CompareVersions(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch))
	})
	return nil
}

// one notes a target that is on one side only. A release is noted once, by its
// manifest.
func (d *Diff) one(change string, a metadata.Artifact) {
	if version, arch, ok := manifestOf(a.Target); ok {
		d.Releases = append(d.Releases, ReleaseDiff{change, version, arch, metadata.ID(a.SHA256)})
		return
	}
	if version, arch, ok := releaseOf(a.Target); ok && d.hasRelease(change, version, arch) {
		return
	}
	t := TargetDiff{Change: change, Target: a.Target}
	if change == Added {
		t.ToSHA256 = a.SHA256
	} else {
		t.FromSHA256 = a.SHA256
	}
	d.Targets = append(d.Targets, t)
}

func (d *Diff) hasRelease(change, version, arch string) bool {
	return slices.ContainsFunc(d.Releases, func(r ReleaseDiff) bool {
		return r.Change == change && r.Version == version && r.Arch == arch
	})
}

// differing returns the names of all targets that may be different, in order, but
// for manifests, which come before the other files of their release.
func differing(ctx context.Context, a, b *state) ([]string, error) {
	inA, err := a.live(ctx)
	if err != nil {
		return nil, err
	}
	inB, err := b.live(ctx)
	if err != nil {
		return nil, err
	}
	same := sameRoles(a, b, inA, inB)
	names := make(map[string]bool)
	for _, side := range []struct {
		st    *state
		roles []liveRole
	}{{a, inA}, {b, inB}} {
		for _, r := range side.roles {
			if same[r] {
				continue
			}
			role, err := side.st.role(ctx, r.name, r.parent)
			if err != nil {
				return nil, err
			}
			for name := range role.md.Signed.Targets {
				names[name] = true
			}
		}
	}
	return manifestsFirst(names), nil
}

// sameRoles returns the roles whose targets are found alike on both sides: their
// files are the same, and all that delegate are, so that nothing else leads to
// them or away from them.
func sameRoles(a, b *state, inA, inB []liveRole) map[liveRole]bool {
	same := make(map[liveRole]bool)
	if !slices.Equal(inA, inB) {
		return same
	}
	for _, r := range inA {
		one, other := a.roles[r.name], b.roles[r.name]
		if one != nil && other != nil && !sameDelegations(one, other) {
			return make(map[liveRole]bool)
		}
		same[r] = sameFile(a.snapshot.Signed.Meta[metaName(r.name)], b.snapshot.Signed.Meta[metaName(r.name)])
	}
	return same
}

// sameFile reports whether two entries of a snapshot name the same file.
func sameFile(a, b *tuf.MetaFiles) bool {
	return a != nil && b != nil && a.Version == b.Version && a.Length == b.Length &&
		maps.EqualFunc(a.Hashes, b.Hashes, func(x, y tuf.HexBytes) bool { return bytes.Equal(x, y) })
}

// sameDelegations reports whether two states of a role lead to the same roles
// for every target.
func sameDelegations(a, b *targetsRole) bool {
	one, other := a.md.Signed.Delegations, b.md.Signed.Delegations
	if one == nil || other == nil {
		return one == other
	}
	return reflect.DeepEqual(one.Roles, other.Roles) && reflect.DeepEqual(one.SuccinctRoles, other.SuccinctRoles)
}

// manifestsFirst orders targets by name, and manifests before all others.
func manifestsFirst(names map[string]bool) []string {
	ordered := slices.Sorted(maps.Keys(names))
	slices.SortStableFunc(ordered, func(a, b string) int {
		_, _, isA := manifestOf(a)
		_, _, isB := manifestOf(b)
		switch {
		case isA && !isB:
			return -1
		case isB && !isA:
			return 1
		}
		return 0
	})
	return ordered
}

// releaseOf takes the name of a release's file apart.
func releaseOf(target string) (version, arch string, ok bool) {
	parts := strings.Split(target, "/")
	if len(parts) != 4 || metadata.ReleaseTarget(parts[1], parts[2], parts[3]) != target {
		return "", "", false
	}
	return parts[1], parts[2], true
}
