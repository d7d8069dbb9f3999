package repository

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"tufboot/metadata"
)

// ReleaseInfo is a published release.
type ReleaseInfo struct {
	Version  string      `json:"version"`
	Arch     string      `json:"arch"`
	ID       metadata.ID `json:"id"`
	Size     int64       `json:"size"`     // of the artifacts, in bytes
	Maps     int64       `json:"maps"`     // the size of the chunk maps, in bytes; 0: it has none
	Channels []string    `json:"channels"` // that point to it
}

// List returns the published releases, ordered by version and architecture; of a
// bundle those that it holds. It reads metadata and channel files, no release's
// files, and takes no lock.
func (r *Repository) List(ctx context.Context) ([]ReleaseInfo, error) {
	st, err := load(ctx, r.store)
	if err != nil {
		return nil, err
	}
	if b, err := r.Bundled(ctx); err != nil {
		return nil, err
	} else if b != nil {
		return listBundle(ctx, st, b)
	}
	entries, err := st.all(ctx)
	if err != nil {
		return nil, err
	}
	pointers, err := channelPointers(ctx, st, entries)
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64, len(entries))
	for _, t := range entries {
		sizes[t.Target] = t.Length
	}
	releases := []ReleaseInfo{}
	for _, t := range entries {
		version, arch, ok := manifestOf(t.Target)
		if !ok {
			continue
		}
		info := ReleaseInfo{Version: version, Arch: arch, ID: metadata.ID(t.SHA256), Channels: pointers[t.Target]}
		for _, file := range []string{metadata.KernelFile, metadata.InitramfsFile} {
			target := metadata.ReleaseTarget(version, arch, file)
			info.Size += sizes[target]
			info.Maps += sizes[target+metadata.ChunksSuffix]
		}
		releases = append(releases, info)
	}
	sortReleases(releases)
	return releases, nil
}

func sortReleases(releases []ReleaseInfo) {
	slices.SortFunc(releases, func(a, b ReleaseInfo) int {
		return cmp.Or(metadata.CompareVersions(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch))
	})
}

// listBundle lists the releases that a bundle says it holds, as the signed metadata
// has them. Much of what that names besides is not there.
func listBundle(ctx context.Context, st *state, b *Bundled) ([]ReleaseInfo, error) {
	channel, err := st.readChannel(ctx, metadata.ChannelTarget(b.Channel))
	if err != nil {
		return nil, err
	}
	releases := []ReleaseInfo{}
	for _, r := range b.Releases {
		name := metadata.ReleaseTarget(r.Version, r.Arch, metadata.ManifestFile)
		if signed, _, err := st.target(ctx, name); err != nil {
			return nil, err
		} else if signed.SHA256 != string(r.ID) {
			return nil, invalid("%s says that release %s (%s) is %s, and the signed metadata does not", bundleFile, r.Version, r.Arch, r.ID.Short())
		}
		info := ReleaseInfo{Version: r.Version, Arch: r.Arch, ID: r.ID}
		if channel.Releases[r.Arch].Target == name {
			info.Channels = []string{channel.Name}
		}
		for _, file := range []string{metadata.KernelFile, metadata.InitramfsFile} {
			a, _, err := st.target(ctx, metadata.ReleaseTarget(r.Version, r.Arch, file))
			if err != nil {
				return nil, err
			}
			info.Size += a.Length
		}
		releases = append(releases, info)
	}
	sortReleases(releases)
	return releases, nil
}

// channelPointers maps a manifest's target name to the channels that point to it.
func channelPointers(ctx context.Context, st *state, entries []entry) (map[string][]string, error) {
	pointers := make(map[string][]string)
	for _, t := range entries {
		if !isChannel(t.Target) {
			continue
		}
		channel, err := st.readChannel(ctx, t.Target)
		if err != nil {
			return nil, err
		}
		for _, ref := range channel.Releases {
			pointers[ref.Target] = append(pointers[ref.Target], channel.Name)
		}
	}
	for _, channels := range pointers {
		slices.Sort(channels)
	}
	return pointers, nil
}

// readChannel reads the channel file with the given target name.
func (st *state) readChannel(ctx context.Context, name string) (*metadata.Channel, error) {
	data, err := st.readTarget(ctx, name)
	if err != nil {
		return nil, err
	}
	channel, err := metadata.ParseChannel(data)
	if err != nil {
		return nil, invalid("%s: %w", name, err)
	}
	return channel, nil
}

// manifestOf takes the name of a release manifest apart.
func manifestOf(target string) (version, arch string, ok bool) {
	parts := strings.Split(target, "/")
	if len(parts) != 4 || metadata.ReleaseTarget(parts[1], parts[2], metadata.ManifestFile) != target {
		return "", "", false
	}
	return parts[1], parts[2], true
}

// isChannel reports whether target is the name of a channel file.
func isChannel(target string) bool {
	name, ok := strings.CutSuffix(strings.TrimPrefix(target, "channels/"), ".json")
	return ok && metadata.ChannelTarget(name) == target
}
