package client_test

import (
	"crypto/sha256"
	"reflect"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"tufboot/metadata/client"
)

// chain is one repository's metadata, to be changed before it is signed.
type chain struct {
	timestamp *tuf.Metadata[tuf.TimestampType]
	snapshot  *tuf.Metadata[tuf.SnapshotType]
	targets   *tuf.Metadata[tuf.TargetsType]
	keys      map[string]key // who signs
	now       time.Time
	floor     *tuf.Metadata[tuf.SnapshotType] // that is held already
	name      func(*tuf.MetaFiles)            // changes what the file above names
	kept      bool
	parent    string
	loaded    bool // targets were loaded before
}

func newChain(t *testing.T) *chain {
	c := &chain{
		timestamp: tuf.Timestamp(epoch.Add(day)), snapshot: tuf.Snapshot(epoch.Add(2 * day)), targets: tuf.Targets(epoch.Add(3 * day)),
		keys: make(map[string]key), now: epoch, name: func(*tuf.MetaFiles) {}, parent: tuf.ROOT,
	}
	for _, role := range tuf.TOP_LEVEL_ROLE_NAMES {
		c.keys[role] = newKey(t, role)
	}
	c.timestamp.Signed.Version, c.snapshot.Signed.Version, c.targets.Signed.Version = 7, 5, 3
	for _, file := range []string{"targets.json", "releases.json"} {
		c.snapshot.Signed.Meta[file] = tuf.MetaFile(3)
	}
	return c
}

// describe returns what the file above says of a file.
func describe(version int64, data []byte) *tuf.MetaFiles {
	sum := sha256.Sum256(data)
	return &tuf.MetaFiles{Version: version, Length: int64(len(data)), Hashes: tuf.Hashes{"sha256": sum[:]}}
}

// trusted is what a client holds before the snapshot.
func (c *chain) trusted(t *testing.T, snapshot []byte) *trustedmetadata.TrustedMetadata {
	t.Helper()
	root := tuf.Root(epoch.Add(9 * day))
	for _, role := range tuf.TOP_LEVEL_ROLE_NAMES {
		must(t, root.Signed.AddKey(newKey(t, role).public, role))
	}
	sign(t, root, newKey(t, tuf.ROOT))
	trusted, err := trustedmetadata.New(encode(t, root))
	must(t, err)
	trusted.RefTime = epoch
	named := describe(c.snapshot.Signed.Version, snapshot)
	c.timestamp.Signed.Meta["snapshot.json"] = named
	sign(t, c.timestamp, c.keys[tuf.TIMESTAMP])
	_, err = trusted.UpdateTimestamp(encode(t, c.timestamp))
	must(t, err)
	return trusted
}

// TestQuickSnapshot: a snapshot is accepted quickly exactly where go-tuf accepts
// it, and leads to the same.
func TestQuickSnapshot(t *testing.T) {
	for name, change := range map[string]func(c *chain){
		"right":                 func(*chain) {},
		"right and kept":        func(c *chain) { c.kept = true },
		"another hash":          func(c *chain) { c.name = func(m *tuf.MetaFiles) { m.Hashes["sha256"][0]++ } },
		"another length":        func(c *chain) { c.name = func(m *tuf.MetaFiles) { m.Length++ } },
		"another hash, kept":    func(c *chain) { c.name = func(m *tuf.MetaFiles) { m.Hashes["sha256"][0]++ }; c.kept = true },
		"another version":       func(c *chain) { c.name = func(m *tuf.MetaFiles) { m.Version++ } },
		"another version, kept": func(c *chain) { c.name = func(m *tuf.MetaFiles) { m.Version++ }; c.kept = true },
		"another key":           func(c *chain) { c.keys[tuf.SNAPSHOT] = c.keys[tuf.TARGETS] },
		"another key, kept":     func(c *chain) { c.keys[tuf.SNAPSHOT] = c.keys[tuf.TARGETS]; c.kept = true },
		"expired":               func(c *chain) { c.snapshot.Signed.Expires = epoch.Add(-1) },
		"expired, kept":         func(c *chain) { c.snapshot.Signed.Expires = epoch.Add(-1); c.kept = true },
		"the timestamp expired": func(c *chain) { c.now = epoch.Add(day + 1) },
		"above the floor":       func(c *chain) { c.floor = floor("targets.json", 3) },
		"below the floor":       func(c *chain) { c.floor = floor("targets.json", 4) },
		"a role less":           func(c *chain) { c.floor = floor("gone.json", 1) },
		"after targets":         func(c *chain) { c.loaded = true },
		"a role that is null":   func(c *chain) { c.snapshot.Signed.Meta["x.json"] = nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := newChain(t)
			change(c)
			sign(t, c.snapshot, c.keys[tuf.SNAPSHOT])
			data := encode(t, c.snapshot)
			held := func() *trustedmetadata.TrustedMetadata {
				trusted := c.trusted(t, data)
				c.name(trusted.Timestamp.Signed.Meta["snapshot.json"])
				trusted.RefTime, trusted.Snapshot = c.now, c.floor
				if c.loaded {
					trusted.Targets[tuf.TARGETS] = c.targets
				}
				return trusted
			}
			byTUF, byUs := held(), held()
			_, want := byTUF.UpdateSnapshot(data, c.kept)
			took := want == nil || c.kept && byTUF.Snapshot != nil
			if got := client.QuickSnapshot(held(), data, c.kept); got != (took && name != "a role that is null") {
				t.Errorf("quickly accepted: %v; go-tuf: %v", got, want)
			}
			outdated, err := client.UpdateSnapshot(byUs, data, c.kept)
			if err == nil != (want == nil) || outdated && !c.kept {
				t.Errorf("got %v, go-tuf: %v", err, want)
			}
			if versionOf(byUs.Snapshot) != versionOf(byTUF.Snapshot) {
				t.Errorf("it holds snapshot version %d, go-tuf %d", versionOf(byUs.Snapshot), versionOf(byTUF.Snapshot))
			}
		})
	}
}

func floor(file string, version int64) *tuf.Metadata[tuf.SnapshotType] {
	md := tuf.Snapshot()
	md.Signed.Meta = map[string]*tuf.MetaFiles{file: tuf.MetaFile(version)}
	return md
}

func versionOf(md *tuf.Metadata[tuf.SnapshotType]) int64 {
	if md == nil {
		return 0
	}
	return md.Signed.Version
}

// TestQuickTargets: likewise the roles below.
func TestQuickTargets(t *testing.T) {
	type args struct {
		*chain
		role  string
		stale bool // the timestamp names a newer snapshot
	}
	for name, change := range map[string]func(a *args){
		"right":               func(*args) {},
		"another hash":        func(a *args) { a.name = func(m *tuf.MetaFiles) { m.Hashes["sha256"][0]++ } },
		"another length":      func(a *args) { a.name = func(m *tuf.MetaFiles) { m.Length++ } },
		"another version":     func(a *args) { a.name = func(m *tuf.MetaFiles) { m.Version++ } },
		"another key":         func(a *args) { a.keys[tuf.TARGETS] = a.keys[tuf.SNAPSHOT] },
		"expired":             func(a *args) { a.targets.Signed.Expires = epoch.Add(-1) },
		"not listed":          func(a *args) { a.role = "elsewhere" },
		"below":               func(a *args) { a.role, a.parent, a.keys[tuf.TARGETS] = "releases", tuf.TARGETS, a.keys["below"] },
		"below, another key":  func(a *args) { a.role, a.parent = "releases", tuf.TARGETS },
		"below what is not":   func(a *args) { a.role, a.parent, a.keys[tuf.TARGETS] = "releases", "other", a.keys["below"] },
		"an old snapshot":     func(a *args) { a.stale = true },
		"an expired snapshot": func(a *args) { a.now = epoch.Add(2*day + 1) },
	} {
		t.Run(name, func(t *testing.T) {
			a := &args{chain: newChain(t), role: tuf.TARGETS}
			a.keys["below"] = newKey(t, "below")
			change(a)
			sign(t, a.targets, a.keys[tuf.TARGETS])
			data := encode(t, a.targets)
			held := func() *trustedmetadata.TrustedMetadata {
				trusted := a.trusted(t, nil)
				trusted.RefTime, trusted.Snapshot = a.now, a.snapshot
				for _, file := range []string{"targets.json", "releases.json"} {
					a.snapshot.Signed.Meta[file] = describe(a.targets.Signed.Version, data)
					a.name(a.snapshot.Signed.Meta[file])
				}
				if a.role != tuf.TARGETS {
					trusted.Targets[tuf.TARGETS] = above(t, a.keys["below"])
				}
				if a.stale {
					trusted.Timestamp.Signed.Meta["snapshot.json"].Version++
				}
				return trusted
			}
			byTUF := held()
			md, want := byTUF.UpdateDelegatedTargets(data, a.role, a.parent)
			if got := client.QuickTargets(held(), data, a.role, a.parent); got != (want == nil) {
				t.Errorf("quickly accepted: %v; go-tuf: %v", got, want)
			}
			if want == nil && !reflect.DeepEqual(md.Signed.Targets, a.targets.Signed.Targets) {
				t.Errorf("go-tuf has %v", md.Signed.Targets)
			}
		})
	}
}

// above is metadata that delegates to the role releases.
func above(t *testing.T, k key) *tuf.Metadata[tuf.TargetsType] {
	t.Helper()
	id, err := k.public.ID()
	must(t, err)
	md := tuf.Targets()
	md.Signed.Delegations = &tuf.Delegations{
		Keys:  map[string]*tuf.Key{id: k.public},
		Roles: []tuf.DelegatedRole{{Name: "releases", KeyIDs: []string{id}, Threshold: 1}},
	}
	return md
}
