package repository

import (
	"context"
	"slices"

	"tufboot/metadata"
)

// checkSameVersion refuses a new release whose version is one that is there, only
// written differently, such as 1.05.0 for 1.5.0 (see [metadata.CompareVersions]):
// nodes, and minimum versions, take the two for one.
//
// It looks at what is at hand or costs little: all that the channels point to or
// pointed to, their steps, and the metadata that is loaded. That is every release
// while the role releases has no bins (up to about 64 releases). In a larger
// repository an old release that no channel remembers is not noticed: its name is
// in any of the bins, and a publication does not read them all.
func (e *Edit) checkSameVersion(ctx context.Context, version, arch string) error {
	known, err := e.knownVersions(ctx, arch)
	if err != nil {
		return err
	}
	for _, other := range known {
		if other != version && metadata.CompareVersions(other, version) == 0 {
			return refuse(ReasonVersionExists, "publish it under a higher version",
				"release %s (%s) is known already, and %s is the same version, written differently", other, arch, version)
		}
	}
	return nil
}

// knownVersions returns the versions of releases for an architecture that can be
// told cheaply, in order.
func (e *Edit) knownVersions(ctx context.Context, arch string) ([]string, error) {
	channels, err := e.state.channels(ctx)
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, c := range channels {
		if c.Err != nil {
			continue // rehearsals and status say so
		}
		if ref, ok := c.Channel.Releases[arch]; ok {
			versions = append(versions, ref.Version)
		}
		for _, step := range c.Channel.Steps[arch] {
			versions = append(versions, step.Version)
		}
		for _, past := range c.Channel.Previous[arch] {
			versions = append(versions, past.Version)
		}
	}
	for _, role := range e.state.roles {
		for target := range role.md.Signed.Targets {
			if version, of, ok := manifestOf(target); ok && of == arch {
				versions = append(versions, version)
			}
		}
	}
	slices.Sort(versions)
	return slices.Compact(versions), nil
}
