package repository

import (
	"context"
	"slices"
	"strings"

	"tufboot/metadata"
)

// drops returns the targets of the releases that nobody needs, and reports
// these.
func (p *pruner) drops(ctx context.Context, st *state) (map[string]bool, error) {
	entries, err := st.all(ctx)
	if err != nil {
		return nil, err
	}
	manifests, err := p.needed(ctx, st, entries)
	if err != nil {
		return nil, err
	}
	byRelease := make(map[string][]entry) // by the folder of the release
	var useless []entry                   // manifests
	for _, t := range entries {
		folder := releaseFolder(t.Target)
		byRelease[folder] = append(byRelease[folder], t)
		if _, _, ok := manifestOf(t.Target); !ok || manifests[t.Target] {
			continue
		}
		if manifests[t.Target] = p.recent(targetFile(t.Target, t.SHA256)); !manifests[t.Target] {
			useless = append(useless, t)
		}
	}
	if len(useless) == 0 {
		return nil, nil
	}
	keep, err := p.artifacts(ctx, st, entries, manifests)
	if err != nil {
		return nil, err
	}
	drop := make(map[string]bool)
	for _, t := range useless {
		version, arch, _ := manifestOf(t.Target)
		release := PrunedRelease{Version: version, Arch: arch, ID: metadata.ID(t.SHA256)}
		for _, part := range byRelease[releaseFolder(t.Target)] {
			if !keep[part.Target] {
				drop[part.Target] = true
				release.Bytes += part.Length
			}
		}
		p.result.Releases = append(p.result.Releases, release)
	}
	slices.SortFunc(p.result.Releases, func(a, b PrunedRelease) int {
		if c := metadata.CompareVersions(a.Version, b.Version); c != 0 {
			return c
		}
		return strings.Compare(a.Arch, b.Arch)
	})
	return drop, nil
}

// releaseFolder returns the folder of a release's targets, "" for others.
func releaseFolder(target string) string {
	parts := strings.Split(target, "/")
	if len(parts) != 4 {
		return ""
	}
	return strings.TrimSuffix(metadata.ReleaseTarget(parts[1], parts[2], "x"), "x")
}

// artifacts returns the targets that manifests name, which may lie in the folder
// of another release.
func (p *pruner) artifacts(ctx context.Context, st *state, entries []entry, manifests map[string]bool) (map[string]bool, error) {
	named := make(map[string]bool)
	for _, t := range entries {
		if !manifests[t.Target] {
			continue
		}
		named[t.Target] = true
		data, err := st.readTarget(ctx, t.Target)
		if err != nil {
			return nil, err
		}
		release, err := metadata.ParseRelease(data)
		if err != nil {
			return nil, invalid("target %s: %w", t.Target, err)
		}
		for _, a := range release.Targets() {
			named[a.Target] = true
		}
	}
	return named, nil
}

// needed returns the manifests of the releases that channels need, by their
// target names. A channel that cannot be read is an error: what it needs is not
// known.
func (p *pruner) needed(ctx context.Context, st *state, entries []entry) (map[string]bool, error) {
	need := make(map[string]bool)
	for _, t := range entries {
		if !isChannel(t.Target) {
			continue
		}
		channel, err := st.readChannel(ctx, t.Target)
		if err != nil {
			return nil, err
		}
		for arch, ref := range channel.Releases {
			need[ref.Target] = true
			if len(channel.Previous[arch]) == 0 {
				p.needBelow(need, entries, arch, ref.Version)
			}
		}
		for _, steps := range channel.Steps {
			for _, step := range steps {
				need[step.Target] = true
			}
		}
		for arch, past := range channel.Previous {
			p.needPast(need, channel.Releases[arch].SHA256, past)
		}
	}
	return need, nil
}

// needPast adds the last releases that a channel pointed to: as many as can be
// gone back to.
func (p *pruner) needPast(need map[string]bool, current metadata.ID, past []metadata.PastRef) {
	kept := 0
	for _, ref := range past {
		if kept == p.opts.Keep {
			return
		}
		if !ref.Withdrawn && ref.SHA256 != current {
			kept++
			need[ref.Target] = true
		}
	}
}

// needBelow adds the highest versions below the one that a channel points to.
func (p *pruner) needBelow(need map[string]bool, entries []entry, arch, version string) {
	type found struct{ version, target string }
	var below []found
	for _, t := range entries {
		v, a, ok := manifestOf(t.Target)
		if ok && a == arch && metadata.CompareVersions(v, version) < 0 {
			below = append(below, found{v, t.Target})
		}
	}
	slices.SortFunc(below, func(a, b found) int { return metadata.CompareVersions(b.version, a.version) })
	for _, f := range below[:min(p.opts.Keep, len(below))] {
		need[f.target] = true
	}
}
