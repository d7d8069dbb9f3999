package repository

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"tufboot/metadata"
)

// unnamed returns the names of the files that can go, in two steps: past states
// first, so that none is left whose files are gone. drop are targets that are
// about to be taken out of the metadata of st.
func (p *pruner) unnamed(ctx context.Context, st *state, drop map[string]bool) ([2][]string, error) {
	var names [2][]string
	keep, err := p.named(ctx, st, drop)
	if err != nil {
		return names, err
	}
	for _, name := range slices.Sorted(maps.Keys(p.found)) {
		switch {
		case keep[name] || p.gone[name]:
		case strings.HasPrefix(name, historyDir):
			if p.mayForget(st, name) {
				names[0] = append(names[0], name)
			}
		case p.mayGo(st, name):
			names[1] = append(names[1], name)
		}
	}
	return names, nil
}

// named returns the files that a state names, without the targets in drop, and
// those of past states that are still needed.
func (p *pruner) named(ctx context.Context, st *state, drop map[string]bool) (map[string]bool, error) {
	if p.old == nil {
		p.old = newRawMetadata(p.r.store)
	}
	keep := make(map[string]bool)
	all := func(string) bool { return true }
	now := &namer{keep, make(map[string]bool), func(target string) bool { return !drop[target] }}
	if err := now.add(ctx, st); err != nil {
		return nil, err
	}
	if err := p.mustBeThere(keep); err != nil {
		return nil, err
	}
	past, err := p.past(ctx, st, len(drop) > 0)
	if err != nil {
		return nil, err
	}
	inFlight := &namer{keep, make(map[string]bool), all}
	last := &namer{keep, make(map[string]bool), isSmall}
	for i, old := range past {
		names := last
		switch {
		case old.Until.After(p.cutoff):
			names = inFlight
		case i >= rehearsedStates:
			continue
		}
		if err := p.addPast(ctx, names, old); err == nil {
			keep[historyFile(old.version)] = true
		} else if !isInvalid(err) {
			return nil, err
		} else if names == inFlight {
			keep[historyFile(old.version)] = true
			p.r.logger.Warn("a past state is not whole any more", "timestamp", old.version, "cause", err)
		}
	}
	return keep, nil
}

// mayGo reports whether a file that nothing names has a name and an age with
// which it can be removed.
func (p *pruner) mayGo(st *state, name string) bool {
	if p.recent(name) {
		return false
	}
	if role, version, ok := numberedFile(name); ok {
		return role != Root && version < st.version(role)
	}
	hash, _, ok := strings.Cut(path.Base(name), ".")
	sum, err := hex.DecodeString(hash)
	return ok && err == nil && len(sum) >= 32 && strings.HasPrefix(name, metadata.TargetsDir+"/")
}

// mayForget reports whether what was written down about a past state can go.
// That of the present state belongs to a publication that goes on just now, or
// was cut short.
func (p *pruner) mayForget(st *state, name string) bool {
	number, _ := strings.CutSuffix(path.Base(name), ".json")
	version, err := strconv.ParseInt(number, 10, 64)
	return err == nil && version < st.timestamp.Signed.Version && !p.recent(name)
}

// mustBeThere finds out whether a file that was removed is named now.
func (p *pruner) mustBeThere(named map[string]bool) error {
	for name := range p.gone {
		if named[name] {
			return refuse(ReasonConflict, "publish that release again, with the same files: it puts back what is missing", "%s %w", name, errGone)
		}
	}
	return nil
}

// pastState is a past state with its number.
type pastState struct {
	Past
	version int64
}

// past returns the past states, the newest first; with st as one of them if it
// is about to be.
func (p *pruner) past(ctx context.Context, st *state, ends bool) ([]pastState, error) {
	old, err := history(ctx, p.r.store, 0)
	if err != nil {
		return nil, err
	}
	if ends {
		old = slices.Insert(old, 0, Past{Root: st.root.Signed.Version, Timestamp: st.timestampData, Until: p.r.clock()})
	}
	var states []pastState
	for _, o := range old {
		version, err := timestampVersion(o.Timestamp)
		if err == nil && (ends && len(states) == 0 || version < st.timestamp.Signed.Version) {
			states = append(states, pastState{o, version})
		}
	}
	return states, nil
}

// addPast adds what a past state names. Nothing that clients of it could not
// verify counts.
func (p *pruner) addPast(ctx context.Context, names *namer, old pastState) error {
	root, _, err := loadRoot(ctx, p.old, old.Root)
	if err != nil {
		return err
	}
	st := &state{from: p.old, root: root, timestampData: old.Timestamp, roles: make(map[string]*targetsRole)}
	if err := st.loadBelowRoot(ctx); err != nil {
		return fmt.Errorf("state %d: %w", old.version, err)
	}
	return names.add(ctx, st)
}

// isSmall tells the targets that say what a state is from those that a node
// downloads.
func isSmall(target string) bool {
	_, _, manifest := manifestOf(target)
	return manifest || isChannel(target)
}

// namer collects the names of the files that states name.
type namer struct {
	files map[string]bool
	// seen are the roles' files that were looked into: two states name mostly
	// the same.
	seen map[string]bool
	// want says which targets count.
	want func(target string) bool
}

// add adds a state: all metadata that timestamp and snapshot name, and the
// targets that clients can find.
func (n *namer) add(ctx context.Context, st *state) (err error) {
	defer recoverMalformed(&err)
	n.files[versionedFile(Snapshot, st.snapshot.Signed.Version)] = true
	for listed, named := range st.snapshot.Signed.Meta {
		n.files[versionedFile(strings.TrimSuffix(listed, ".json"), named.Version)] = true
	}
	roles, err := st.live(ctx)
	if err != nil {
		return err
	}
	for _, r := range roles {
		file := versionedFile(r.name, st.version(r.name))
		if n.seen[file] {
			continue
		}
		n.seen[file] = true
		role, err := st.role(ctx, r.name, r.parent)
		if err != nil {
			return err
		}
		n.addTargets(role)
		if r.parent != Root && st.isBin(r) {
			delete(st.roles, r.name)
		}
	}
	return nil
}

// addTargets adds the names that a target's file may have: clients may go by
// any of its hashes.
func (n *namer) addTargets(role *targetsRole) {
	for target, info := range role.md.Signed.Targets {
		if !n.want(target) {
			continue
		}
		for _, sum := range info.Hashes {
			n.files[targetFile(target, hex.EncodeToString(sum))] = true
		}
	}
}
