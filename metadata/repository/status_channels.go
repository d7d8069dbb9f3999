package repository

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// PublishedChannel is a channel and the role that signs it.
type PublishedChannel struct {
	Name    string
	Role    string
	Channel *metadata.Channel // nil where Err is set
	Err     error             // why the channel file cannot be read
}

// ReadChannels returns the published channels, ordered by name. It looks into those
// roles only that can sign channels, so that its cost does not grow with the
// number of releases. A channel whose file is missing or wrong is among them.
func ReadChannels(ctx context.Context, from storage.Reader) (_ []PublishedChannel, err error) {
	defer recoverMalformed(&err)
	st, err := load(ctx, from)
	if err != nil {
		return nil, err
	}
	return st.channels(ctx)
}

func (st *state) channels(ctx context.Context) ([]PublishedChannel, error) {
	names, err := st.channelTargets(ctx)
	if err != nil {
		return nil, err
	}
	channels := make([]PublishedChannel, 0, len(names))
	for _, target := range names {
		role, _, err := st.find(ctx, target)
		if err != nil {
			return nil, err
		}
		if role == nil {
			continue // listed where no client looks for it
		}
		c := PublishedChannel{Name: strings.TrimSuffix(path.Base(target), ".json"), Role: role.name}
		if c.Channel, err = st.readChannel(ctx, target); err == nil && c.Channel.Name != c.Name {
			c.Channel, err = nil, invalid("%s: it calls itself %q", target, c.Channel.Name)
		}
		var wrong *InvalidError
		if errors.As(err, &wrong) {
			c.Err = err
		} else if err != nil {
			return nil, err
		}
		channels = append(channels, c)
	}
	return channels, nil
}

// channelTargets returns the names of channel files in all roles that can hold
// such, in order.
func (st *state) channelTargets(ctx context.Context) ([]string, error) {
	var names []string
	roles := []liveRole{{Targets, Root}}
	seen := map[string]bool{Targets: true}
	for i := 0; i < len(roles); i++ {
		role, err := st.role(ctx, roles[i].name, roles[i].parent)
		if st.bundle != nil && errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		for target := range role.md.Signed.Targets {
			if isChannel(target) && (st.bundle == nil || target == metadata.ChannelTarget(st.bundle.Channel)) {
				names = append(names, target)
			}
		}
		for _, child := range channelRoles(role) {
			if !seen[child] {
				seen[child] = true
				roles = append(roles, liveRole{child, role.name})
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// channelRoles returns the roles below one that may be asked for a channel file.
func channelRoles(role *targetsRole) []string {
	d := role.md.Signed.Delegations
	if d == nil {
		return nil
	}
	if d.Roles == nil {
		// Bins of a role that is itself asked for channels: any of them.
		return children(role)
	}
	var names []string
	for _, r := range d.Roles {
		if mayHoldChannels(r) {
			names = append(names, r.Name)
		}
	}
	return names
}

// mayHoldChannels reports whether some channel file's name can match what is
// delegated: patterns match segment by segment (TUF specification, section 4.5).
func mayHoldChannels(r tuf.DelegatedRole) bool {
	if len(r.Paths) == 0 {
		return true // by hashes of names: cannot be told
	}
	dir, _, _ := strings.Cut(metadata.ChannelTarget("x"), "/")
	return slices.ContainsFunc(r.Paths, func(pattern string) bool {
		first, rest, ok := strings.Cut(pattern, "/")
		if !ok || strings.Contains(rest, "/") {
			return false
		}
		match, err := path.Match(first, dir)
		return match && err == nil
	})
}
