package repository

import (
	"cmp"
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

// List returns the published releases, ordered by version (numbers by value)
// and architecture. It reads metadata and channel files, no release's files,
// and takes no lock.
func (r *Repository) List() ([]ReleaseInfo, error) {
	st, err := load(r.store)
	if err != nil {
		return nil, err
	}
	pointers, err := channelPointers(r.store, st)
	if err != nil {
		return nil, err
	}
	releases := []ReleaseInfo{}
	for name, t := range st.targets.Signed.Targets {
		version, arch, ok := manifestOf(name)
		if !ok {
			continue
		}
		info := ReleaseInfo{Version: version, Arch: arch, ID: metadata.ID(sumOf(t)), Channels: pointers[name]}
		for _, file := range []string{metadata.KernelFile, metadata.InitramfsFile} {
			if a, ok := st.target(metadata.ReleaseTarget(version, arch, file)); ok {
				info.Size += a.Length
			}
		}
		releases = append(releases, info)
	}
	slices.SortFunc(releases, func(a, b ReleaseInfo) int {
		return cmp.Or(compareVersions(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch))
	})
	return releases, nil
}

// channelPointers maps a manifest's target name to the channels that point to it.
func channelPointers(s store, st *state) (map[string][]string, error) {
	pointers := make(map[string][]string)
	for name := range st.targets.Signed.Targets {
		if !isChannel(name) {
			continue
		}
		data, err := readTarget(s, st, name)
		if err != nil {
			return nil, err
		}
		channel, err := metadata.ParseChannel(data)
		if err != nil {
			return nil, invalid("%s: %w", name, err)
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

// compareVersions orders versions for people: runs of digits by value, the
// rest by character. It decides nothing; channels say what is current.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits returns the length of the run of digits that s starts with.
func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
