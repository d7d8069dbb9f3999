package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// mirrorStep is one write that readers of the destination see: of a version of root,
// or of the timestamp of a state.
type mirrorStep struct {
	root  int64 // its version; 0: none
	data  []byte
	state *publishedState
}

// plan returns the steps from what the destination shows to what the source
// shows, so that the timestamp verifies under the newest root after each of
// them, where that can be had.
func (m *mirror) plan(ctx context.Context, there *destination, now *publishedState) ([]mirrorStep, error) {
	roles, err := now.live(ctx)
	if err != nil {
		return nil, err
	}
	if !m.opts.AllowExpired {
		if _, err := now.checkExpiry(ctx, m.now(), roles); err != nil {
			return nil, err
		}
	}
	var steps []mirrorStep
	var past []*publishedState // loaded when it is needed
	current := there.shown
	for i := len(there.row); i < len(now.row); i++ {
		if i > 0 && there.timestamp != nil && !m.goodUnder(current, now.row[i]) {
			if past == nil {
				if past, err = m.past(ctx, there, now); err != nil {
					return nil, err
				}
			}
			bridge, err := m.bridge(ctx, there, past, current, now.row[i-1:i+1])
			if err != nil {
				return nil, err
			}
			if bridge != nil {
				current = bridge
				steps = append(steps, mirrorStep{state: bridge})
			}
		}
		steps = append(steps, mirrorStep{root: int64(i) + 1, data: now.row[i].data})
	}
	if there.shown == nil || current != now && !bytes.Equal(there.timestamp, now.timestampData) {
		steps = append(steps, mirrorStep{state: now})
	}
	return steps, nil
}

// goodUnder reports whether a client accepts a state under a root at this time.
func (m *mirror) goodUnder(st *publishedState, root rootVersion) (good bool) {
	defer func() {
		if recover() != nil {
			good = false
		}
	}()
	if st == nil {
		return false
	}
	for _, expires := range []time.Time{st.timestamp.Signed.Expires, st.snapshot.Signed.Expires, st.targets().Signed.Expires} {
		if m.now().After(expires) {
			return false
		}
	}
	return verifyTop(root.md, st.timestamp, st.snapshot, st.targets()) == nil
}

// bridge returns the newest of the states that clients accept under both roots.
// It is nil, with a warning, if there is none that is above the current one and
// that the source still has all of.
func (m *mirror) bridge(ctx context.Context, there *destination, states []*publishedState, current *publishedState, roots rootRow) (*publishedState, error) {
	for _, st := range slices.Backward(states) {
		if current != nil && st.timestamp.Signed.Version <= current.timestamp.Signed.Version {
			break
		}
		if !m.goodUnder(st, roots[0]) || !m.goodUnder(st, roots[1]) {
			continue
		}
		err := m.whole(ctx, there, st)
		if err == nil {
			return st, nil
		}
		if !isInvalid(err) {
			return nil, err
		}
		m.logger.Info("a past state of the source is not whole any more", "timestamp", st.timestamp.Signed.Version, "cause", err)
	}
	m.logger.Warn("no state of the source is signed for the root before and for the root after: a node that reads between the last writes of this run fails once",
		"root", roots[1].md.Signed.Version)
	return nil, nil
}

// whole checks that the source, or the destination, has what a state names.
func (m *mirror) whole(ctx context.Context, there *destination, st *publishedState) error {
	t, err := m.transfer(ctx, there, st, make(map[string]bool))
	if err != nil {
		return err
	}
	for _, a := range t.targets {
		name := targetFile(a.Target, a.SHA256)
		if info, err := m.to.Stat(ctx, name); err == nil && info.Size == a.Length {
			continue
		}
		if _, err := m.from.Stat(ctx, name); errors.Is(err, fs.ErrNotExist) {
			return invalid("target %s: %w", a.Target, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// past returns the states that the source has shown since the one that the
// destination shows, the present one last, as far as it still has them.
func (m *mirror) past(ctx context.Context, there *destination, now *publishedState) ([]*publishedState, error) {
	states := []*publishedState{now}
	listed, ok := m.from.(interface {
		storage.Reader
		storage.Lister
	})
	if !ok {
		return states, nil
	}
	old, err := history(ctx, listed, 0)
	if err != nil {
		return nil, err
	}
	for _, p := range old {
		version, err := timestampVersion(p.Timestamp)
		if err != nil || p.Root > now.row.version() || version >= now.timestamp.Signed.Version {
			continue
		}
		if there.shown != nil && version <= there.shown.timestamp.Signed.Version {
			break
		}
		st, err := loadPublished(ctx, m.from, now.row[:p.Root], p.Timestamp)
		if err != nil {
			m.logger.Info("a past state of the source cannot be read any more", "timestamp", version, "cause", err)
			continue
		}
		states = append(states, st)
	}
	slices.Reverse(states)
	return states, nil
}

// transfer is what has to be at the destination before a state can be shown.
type transfer struct {
	targets []metadata.Artifact
	files   []file // numbered metadata
}

// transfer returns what the destination may lack of a state. What is in seen is
// left out, and what is found is put into it.
func (m *mirror) transfer(ctx context.Context, there *destination, st *publishedState, seen map[string]bool) (*transfer, error) {
	holds := func(role string) bool { return !m.opts.Full && there.holds(role, st) }
	roles, err := st.live(ctx)
	if err != nil {
		return nil, err
	}
	t := new(transfer)
	live := make(map[string]bool)
	for _, r := range roles {
		live[r.name] = true
		bin := r.parent != Root && st.isBin(r)
		if bin && holds(r.name) && holds(r.parent) {
			continue
		}
		role, err := st.role(ctx, r.name, r.parent)
		if err != nil {
			return nil, err
		}
		if !holds(r.name) {
			t.addFile(st, r.name, seen)
			var held map[string]*tuf.TargetFiles
			if !m.opts.Full {
				held = there.heldTargets(ctx, r.name)
			}
			if err := t.addTargets(role, held, seen); err != nil {
				return nil, err
			}
		}
		if bin {
			delete(st.roles, r.name) // there may be thousands
		}
	}
	m.addDead(ctx, t, st, live, holds, seen)
	t.addFile(st, Snapshot, seen)
	return t, nil
}

func (t *transfer) addFile(st *publishedState, role string, seen map[string]bool) {
	name := versionedFile(role, st.version(role))
	if !seen[name] {
		seen[name] = true
		t.files = append(t.files, file{name, st.raw.data(name)})
	}
}

func (t *transfer) addTargets(role *targetsRole, held map[string]*tuf.TargetFiles, seen map[string]bool) error {
	for _, target := range slices.Sorted(maps.Keys(role.md.Signed.Targets)) {
		info := role.md.Signed.Targets[target]
		if !fs.ValidPath(target) || len(info.Hashes["sha256"]) != sha256.Size || info.Length < 0 {
			return invalid("role %s: target %q has no possible name, no SHA-256 or no length", role.name, target)
		}
		a := artifact(target, info)
		name := targetFile(target, a.SHA256)
		if old := held[target]; seen[name] || old != nil && artifact(target, old) == a {
			continue
		}
		seen[name] = true
		t.targets = append(t.targets, a)
	}
	return nil
}

// addDead adds the roles that the snapshot lists and nothing delegates to any
// more. No client asks for them; they are copied so that the copy is the same.
func (m *mirror) addDead(ctx context.Context, t *transfer, st *publishedState, live map[string]bool, holds func(string) bool, seen map[string]bool) {
	for _, listed := range slices.Sorted(maps.Keys(st.snapshot.Signed.Meta)) {
		role, _ := strings.CutSuffix(listed, ".json")
		if live[role] || checkRole(role) != nil || holds(role) {
			continue
		}
		named := st.snapshot.Signed.Meta[listed]
		data, err := readMetadata(ctx, st.from, versionedFile(role, named.Version))
		if err == nil && len(named.Hashes) == 0 {
			err = errors.New("the snapshot gives no hash")
		}
		if err == nil {
			err = named.VerifyLengthHashes(data)
		}
		if err != nil {
			m.logger.Info("a role that nothing delegates to is left out", "role", role, "cause", err)
			continue
		}
		t.addFile(st, role, seen)
	}
}
