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
	Channels []string    `json:"channels"` // that point to it
}

// List returns the published releases, ordered by version and architecture. It reads metadata and channel files, no release's files,
// and takes no lock.
func (r *Repository) List(ctx context.Context) ([]ReleaseInfo, error) {
	st, err := load(ctx, r.store)
	if err != nil {
		return nil, err
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
			info.Size += sizes[metadata.ReleaseTarget(version, arch, file)]
		}
		releases = append(releases, info)
	}
	slices.SortFunc(releases, func(a, b ReleaseInfo) int {
		return cmp.Or(metadata.CompareVersions(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch))
	})
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
