package repository

import (
	"context"
	"maps"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// binLevel says into how many bins the role releases is split (TAP 15, succinct
// hash bin delegations), and how many targets it holds at most like that.
type binLevel struct {
	bits int // 2^bits bins; 0: none
	most int
}

// binLevels keeps what one publication has to read and sign about the same,
// however many releases there are: the bins of its files, and the list of all
// bins in the snapshot. A small repository has no bins at all.
func binLevels() []binLevel {
	return []binLevel{{0, 192}, {4, 3_000}, {8, 150_000}, {12, 10_000_000}}
}

// grow moves the targets of releases into more bins when they have become too
// many for those that there are. It happens a few times in the life of a
// repository, in one step for readers, like everything.
func (e *Edit) grow(ctx context.Context) error {
	releases := e.state.roles[Releases]
	if releases == nil || releases.parent != Targets {
		return nil
	}
	bits, total := e.releaseTargets(releases)
	for _, level := range binLevels() {
		if level.bits <= bits && total <= level.most {
			return nil
		}
		if level.bits > bits && total <= level.most {
			return e.split(ctx, releases, level.bits)
		}
	}
	return nil
}

// releaseTargets returns the level of releases and about how many targets it
// holds, from the bins that this change has touched.
func (e *Edit) releaseTargets(releases *targetsRole) (bits, total int) {
	d := releases.md.Signed.Delegations
	if d == nil || d.SuccinctRoles == nil {
		return 0, len(releases.md.Signed.Targets)
	}
	bits = d.SuccinctRoles.BitLength
	touched, sum := 0, 0
	for name, role := range e.state.roles {
		if role.parent == Releases && e.changed[name] {
			touched++
			sum += len(role.md.Signed.Targets)
		}
	}
	if touched == 0 {
		return bits, 0
	}
	return bits, sum << bits / touched
}

// split distributes the targets of releases over 2^bits new bins. The bins get
// names of their own for each number of bits: what the snapshot once listed must
// stay in it (TUF specification, section 5.5.5).
func (e *Edit) split(ctx context.Context, releases *targetsRole, bits int) error {
	authority, err := e.state.authority(Releases, Targets)
	if err != nil {
		return err
	}
	targets := releases.md.Signed.Targets
	for _, name := range children(releases) {
		bin, err := e.state.role(ctx, name, Releases)
		if err != nil {
			return err
		}
		maps.Copy(targets, bin.md.Signed.Targets)
		delete(e.changed, name)
	}
	releases.md.Signed.Targets = make(map[string]*tuf.TargetFiles)
	releases.md.Signed.Delegations = binDelegations(authority, bits)
	e.changed[Releases] = true
	for _, name := range children(releases) {
		e.addRole(name, Releases)
	}
	for name, t := range targets {
		bin := delegatedTo(releases, name)[0].Name
		e.state.roles[bin].md.Signed.Targets[name] = t
	}
	e.repo.logger.Info("split the role releases", "targets", len(targets), "bins", 1<<bits)
	return nil
}

func binDelegations(a authority, bits int) *tuf.Delegations {
	keys := make(map[string]*tuf.Key)
	for _, id := range a.ids {
		keys[id] = a.keys[id]
	}
	return &tuf.Delegations{
		Keys: keys,
		SuccinctRoles: &tuf.SuccinctRoles{
			KeyIDs: a.ids, Threshold: a.threshold, BitLength: bits, NamePrefix: Releases,
		},
	}
}

// addRole adds an empty delegated role, to be signed by Commit.
func (e *Edit) addRole(name, parent string) *targetsRole {
	md := tuf.Targets()
	md.Signed.Version = 0
	if named := e.state.snapshot.Signed.Meta[metaName(name)]; named != nil {
		md.Signed.Version = named.Version // it was there once; readers know that version
	}
	role := &targetsRole{name: name, parent: parent, md: md}
	e.state.roles[name] = role
	e.changed[name] = true
	return role
}
