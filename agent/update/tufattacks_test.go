package update_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/grub"
	"tufboot/internal/faultproxy"
	"tufboot/metadata"
	"tufboot/metadata/client"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// attack is a row of TUF's own list of attacks (specification, section 1.5.2): what
// somebody does between the node and its repository, what the node says, and what
// the owner has to do so that the node goes on by itself.
type attack struct {
	name  string
	want  string            // the release that is asked for by name; "": the channel's
	do    func(a *attacker) // to the attacker's server, which has all that the owner's has
	fault faultproxy.Fault  // on the way from it
	// exit and reason are the node's answer; exit 0: it finds nothing to install, or
	// installs what installs names.
	exit     int
	reason   string
	installs string
	// rotate lists the roles whose keys the owner replaces afterwards, with what
	// `repo-tool key rotate` does; a node without that must say unrotated.
	rotate    []string
	unrotated string
}

// attacker has a copy of the repository that it serves to the node, and the keys
// that a row steals.
type attacker struct {
	*rig
	dir, old string // what the attacker serves, and the repository as it was before release 2
}

const huge = 1 << 40

func attacks() []attack {
	on := faultproxy.On
	return []attack{
		{name: "arbitrary software: another file", fault: on(kernel, faultproxy.OtherBytes), exit: 4, reason: client.ReasonBadHash},
		{name: "arbitrary software: another repository", do: (*attacker).impersonate, exit: 4, reason: client.ReasonWrongRoot},
		{name: "arbitrary software: another root", do: (*attacker).ownRoot, exit: 4, reason: client.ReasonWrongRoot},

		{name: "endless data: metadata", fault: on(timestamp, faultproxy.Endless), exit: 4, reason: client.ReasonBadLength},
		{name: "endless data: a file", fault: on(kernel, faultproxy.Endless), exit: 4, reason: client.ReasonBadLength},

		{name: "extraneous dependencies: a manifest that asks for more", do: (*attacker).manifestAsksForMore, exit: 4, reason: client.ReasonBadLength},
		{name: "extraneous dependencies: rightly signed", do: (*attacker).signsForMore, want: "more", installs: "more"},

		{name: "fast-forward: timestamp", do: func(a *attacker) { a.timestamp(func(ts *tuf.TimestampType) { ts.Version = huge }) },
			installs: "2", rotate: []string{tuf.TIMESTAMP}, unrotated: client.ReasonRollback},
		{name: "fast-forward: snapshot", do: func(a *attacker) { a.snapshot(func(s *tuf.SnapshotType) { s.Version = huge }) },
			installs: "2", rotate: []string{tuf.SNAPSHOT, tuf.TIMESTAMP}, unrotated: client.ReasonRollback},

		{name: "indefinite freeze", do: func(a *attacker) { a.freeze(); a.now = a.now.Add(100 * 24 * time.Hour) }, exit: 4, reason: client.ReasonExpired},

		{name: "malicious mirror: it has nothing", fault: on("/", faultproxy.Status(404, nil)), exit: 1, reason: client.ReasonServerError},
		{name: "malicious mirror: it withholds a file", fault: on(kernel, faultproxy.Status(404, nil)), exit: 1, reason: client.ReasonServerError},
		{name: "malicious mirror: it withholds what is new", do: (*attacker).freeze},

		{name: "mix-and-match: targets of another snapshot", do: func(a *attacker) { a.older(repository.Channels) }, exit: 4, reason: client.ReasonBadHash},
		{name: "mix-and-match: a snapshot of another timestamp", do: func(a *attacker) { a.older(tuf.SNAPSHOT) }, exit: 4, reason: client.ReasonBadHash},

		{name: "rollback", do: func(a *attacker) { a.sees(); a.freeze() }, exit: 4, reason: client.ReasonRollback},

		{name: "slow retrieval: metadata", fault: on(timestamp, faultproxy.Drip(1, time.Second)), exit: 1, reason: client.ReasonStalled},
		{name: "slow retrieval: a file", fault: on(kernel, faultproxy.Drip(10, time.Second)), exit: 1, reason: client.ReasonStalled},

		// A thief of timestamp can hold news back until the snapshot expires, and no more.
		{name: "key compromise: timestamp", do: func(a *attacker) {
			a.freeze()
			a.timestamp(func(ts *tuf.TimestampType) { ts.Version++; ts.Expires = ts.Expires.AddDate(9, 0, 0) })
		}, rotate: []string{tuf.TIMESTAMP}},
		{name: "key compromise: timestamp, used for long", do: func(a *attacker) {
			a.freeze()
			a.timestamp(func(ts *tuf.TimestampType) { ts.Version++; ts.Expires = ts.Expires.AddDate(9, 0, 0) })
			a.now = a.now.Add(100 * 24 * time.Hour)
		}, exit: 4, reason: client.ReasonExpired, rotate: []string{tuf.TIMESTAMP}},
		{name: "key compromise: snapshot", do: func(a *attacker) { a.alone(tuf.SNAPSHOT) },
			exit: 4, reason: client.ReasonBadHash, rotate: []string{tuf.SNAPSHOT}},
		{name: "key compromise: targets", do: func(a *attacker) { a.renew(); a.alone(tuf.TARGETS) },
			exit: 4, reason: client.ReasonBadHash, rotate: []string{tuf.TARGETS}},
		{name: "key compromise: releases and channels", do: func(a *attacker) { a.alone(repository.Channels) },
			exit: 4, reason: client.ReasonBadHash, rotate: []string{repository.Releases, repository.Channels}},
		{name: "key compromise: one of two root keys", do: (*attacker).halfRoot,
			exit: 4, reason: client.ReasonWrongRoot, rotate: []string{tuf.ROOT}},
		// All that publishes: the thief's release is installed, on trial like any other.
		{name: "key compromise: releases, channels, snapshot and timestamp", do: (*attacker).publishes, installs: "66",
			rotate: []string{repository.Releases, repository.Channels, tuf.SNAPSHOT, tuf.TIMESTAMP}},
	}
}

// TestAttacks goes through TUF's list. In each row the booted slot stays as it was,
// nothing that was not signed is armed, and when the attack is over the node gets
// the owner's release without anybody's help on the node.
func TestAttacks(t *testing.T) {
	for _, row := range attacks() {
		t.Run(row.name, func(t *testing.T) {
			a := &attacker{rig: newRig(t)}
			a.update() // the node knows release 1
			a.old = a.copyRepository()
			a.publish("2")
			a.dir = a.copyRepository()
			if row.do != nil {
				row.do(a)
			}
			a.attacked(row)
			a.now = time.Now()
			a.recovers(row)
		})
	}
}

// attacked runs an update by the attacker's server.
func (a *attacker) attacked(row attack) {
	a.t.Helper()
	booted := a.slotHash(grub.SlotA)
	outer := a.t
	synctest.Test(a.t, func(t *testing.T) {
		a.t = t
		p := faultproxy.New(http.FileServer(http.Dir(a.dir)))
		defer p.Close()
		p.Spoil(row.fault)
		transport := p.Transport()
		defer transport.CloseIdleConnections()
		a.transport = transport
		plan, err := a.node().Update(t.Context(), row.want)
		requests, sent := p.Taken()
		if sent > 2*initramfsSize {
			t.Errorf("%d bytes came", sent)
		}
		for _, q := range requests {
			if strings.Contains(q, "unrelated") {
				t.Errorf("the node asked for %s", q)
			}
		}
		switch {
		case row.exit != 0:
			if err == nil || exitOf(err) != row.exit || reasonOf(err) != row.reason {
				t.Errorf("exit code %d, reason %q, want %d, %q: %v", exitOf(err), reasonOf(err), row.exit, row.reason, err)
			}
		case err != nil:
			t.Errorf("the update failed: %v", err)
		case plan.Install != (row.installs != "") || plan.Install && plan.Version != row.installs:
			t.Errorf("plan %+v, want release %q", plan, row.installs)
		}
	})
	a.t, a.transport = outer, nil
	if a.slotHash(grub.SlotA) != booted {
		a.t.Error("the booted slot was written")
	}
	if b := a.block(); b.Trial() != (row.installs != "") {
		a.t.Fatalf("after the attack the block is %+v", b)
	}
}

// recovers lets the attack end, the owner replace what was stolen and publish
// release 3, and the node update by itself.
func (a *attacker) recovers(row attack) {
	a.t.Helper()
	if row.installs != "" {
		a.trial()
	}
	if row.unrotated != "" {
		a.publish("2.1") // the thief's timestamp has this one's number
		a.publish("2.2")
		if _, err := a.node().Update(a.t.Context(), ""); reasonOf(err) != row.unrotated {
			a.t.Errorf("with the stolen keys still in use: %v, want %s", err, row.unrotated)
		}
	}
	a.rotate(row.rotate)
	a.publish("3")
	p := a.update()
	if !p.Install || p.Version != "3" {
		a.t.Fatalf("plan %+v", p)
	}
	a.wantSlot(a.booted.Slot.Other(), "3")
	a.trial()
}

// rotate replaces all keys of the roles, as `repo-tool key rotate` does.
func (a *attacker) rotate(roles []string) {
	a.t.Helper()
	if len(roles) == 0 {
		return
	}
	edits := make(map[string]repository.RoleEdit)
	authorities, err := a.repo.Authorities(a.t.Context())
	must(a.t, err)
	keys := filepath.Join(a.rig.dir, "keys")
	for _, role := range authorities {
		if !slices.Contains(roles, role.Role) {
			continue
		}
		var edit repository.RoleEdit
		for i, old := range role.Keys {
			file, err := repository.GenerateKeyFile(keys, fmt.Sprint(role.Role, "-new-", i), repository.Ed25519, nil)
			must(a.t, err)
			public, err := repository.LoadPublicKey(file.PublicPath())
			must(a.t, err)
			edit.Remove, edit.Add = append(edit.Remove, old.ID), append(edit.Add, public)
		}
		edits[role.Role] = edit
	}
	a.keys, err = repository.OpenKeys([]string{keys}, nil)
	must(a.t, err)
	_, err = a.repo.ChangeKeys(a.t.Context(), repository.ProposeOptions{Roles: edits}, a.keys)
	must(a.t, err)
}

// copyRepository returns a copy of the repository as it is now.
func (a *attacker) copyRepository() string {
	a.t.Helper()
	dir, err := os.MkdirTemp(a.rig.dir, "copy-")
	must(a.t, err)
	must(a.t, os.CopyFS(filepath.Join(dir, "repo"), os.DirFS(filepath.Join(a.rig.dir, "repo"))))
	return filepath.Join(dir, "repo")
}

// sees has the node read the owner's metadata, without installing anything.
func (a *attacker) sees() {
	_, err := a.node().Check(a.t.Context(), "")
	must(a.t, err)
}

// freeze serves the repository as it was before release 2.
func (a *attacker) freeze() { a.dir = a.old }

// newest returns the path of a role's newest file on the attacker's server, and
// the one before it ("": none).
func (a *attacker) newest(role string) (path, before string) {
	a.t.Helper()
	if role == tuf.TIMESTAMP {
		return filepath.Join(a.dir, "metadata", "timestamp.json"), ""
	}
	for v := 1; ; v++ {
		next := filepath.Join(a.dir, "metadata", fmt.Sprintf("%d.%s.json", v, role))
		if _, err := os.Stat(next); err != nil {
			return path, before
		}
		path, before = next, path
	}
}

// resign changes a role's newest metadata and signs it with the first n of its
// stolen keys. It returns the new bytes.
func resign[T tuf.Roles](a *attacker, role string, n int, change func(*T)) []byte {
	a.t.Helper()
	path, _ := a.newest(role)
	md, err := new(tuf.Metadata[T]).FromFile(path)
	must(a.t, err)
	change(&md.Signed)
	md.ClearSignatures()
	authorities, err := a.repo.Authorities(a.t.Context())
	must(a.t, err)
	for _, r := range authorities {
		for i := 0; r.Role == role && i < min(n, len(r.Keys)); i++ {
			signer, err := a.keys.Signer(a.t.Context(), r.Keys[i].ID)
			must(a.t, err)
			_, err = md.Sign(signer)
			must(a.t, err)
		}
	}
	data, err := md.ToBytes(false)
	must(a.t, err)
	return data
}

// put writes a file on the attacker's server.
func (a *attacker) put(path string, data []byte) {
	a.t.Helper()
	must(a.t, os.WriteFile(path, data, 0o600))
}

// timestamp signs a timestamp with the stolen key.
func (a *attacker) timestamp(change func(*tuf.TimestampType)) {
	path, _ := a.newest(tuf.TIMESTAMP)
	a.put(path, resign(a, tuf.TIMESTAMP, 1, change))
}

// snapshot signs a snapshot, and the timestamp for it, with the stolen keys.
func (a *attacker) snapshot(change func(*tuf.SnapshotType)) {
	var version int64
	data := resign(a, tuf.SNAPSHOT, 1, func(s *tuf.SnapshotType) { change(s); version = s.Version })
	a.put(filepath.Join(a.dir, "metadata", fmt.Sprintf("%d.snapshot.json", version)), data)
	sum := sha256.Sum256(data)
	a.timestamp(func(ts *tuf.TimestampType) {
		ts.Version++
		ts.Meta["snapshot.json"] = &tuf.MetaFiles{Version: version, Length: int64(len(data)), Hashes: tuf.Hashes{"sha256": sum[:]}}
	})
}

// alone signs a role's metadata of the same version anew, without the keys of what
// names it by its hash.
func (a *attacker) alone(role string) {
	path, _ := a.newest(role)
	if role == tuf.SNAPSHOT {
		a.put(path, resign(a, role, 1, func(s *tuf.SnapshotType) { s.Expires = s.Expires.Add(time.Second) }))
		return
	}
	a.put(path, resign(a, role, 1, func(s *tuf.TargetsType) { s.Expires = s.Expires.Add(time.Second) }))
}

// older gives a role's older bytes under the newest name.
func (a *attacker) older(role string) {
	path, before := a.newest(role)
	data, err := os.ReadFile(before)
	must(a.t, err)
	a.put(path, data)
}

// halfRoot signs a root that trusts the thief with one of the two keys it takes.
func (a *attacker) halfRoot() {
	a.put(filepath.Join(a.dir, "metadata", "2.root.json"), resign(a, tuf.ROOT, 1, func(r *tuf.RootType) { r.Version++ }))
}

// own makes a repository of the attacker's own with a release "evil".
func (a *attacker) own() (dir string) {
	a.t.Helper()
	mine := &rig{t: a.t, dir: a.t.TempDir()}
	mine.makeRepository()
	mine.publish("evil")
	return filepath.Join(mine.dir, "repo")
}

func (a *attacker) impersonate() { a.dir = a.own() }

// ownRoot serves a second root that the attacker's own keys have signed.
func (a *attacker) ownRoot() {
	md, err := tuf.Root().FromFile(filepath.Join(a.own(), "metadata", "1.root.json"))
	must(a.t, err)
	md.Signed.Version = 2
	data, err := md.ToBytes(false)
	must(a.t, err)
	a.put(filepath.Join(a.dir, "metadata", "2.root.json"), data)
}

// publishes publishes a release with the stolen keys of all who publish.
func (a *attacker) publishes() {
	a.t.Helper()
	r, err := repository.Open(a.t.Context(), storage.NewFolder(a.dir), repository.Options{})
	must(a.t, err)
	owner := a.repo
	a.repo = r
	a.publish("66")
	a.repo = owner
}

// manifestAsksForMore lets release 2's manifest name another file to install.
func (a *attacker) manifestAsksForMore() {
	a.t.Helper()
	found, err := filepath.Glob(filepath.Join(a.dir, "targets", "releases", "2", arch, "*."+metadata.ManifestFile))
	must(a.t, err)
	data, err := os.ReadFile(found[0])
	must(a.t, err)
	a.put(found[0], bytes.Replace(data, []byte("{"), []byte(`{"requires":"releases/2/amd64/unrelated",`), 1))
}

// signsForMore publishes, with the publisher's keys, a release whose manifest names
// another file to install. A node takes kernel and initramfs and nothing else.
func (a *attacker) signsForMore() {
	a.t.Helper()
	e, err := a.repo.Edit(a.t.Context())
	must(a.t, err)
	defer e.Close()
	name := func(file string) string { return metadata.ReleaseTarget("more", arch, file) }
	must(a.t, e.UnlockFor(a.t.Context(), a.keys, name(metadata.KernelFile)))
	add := func(file string, data []byte) metadata.Artifact {
		artifact, err := e.AddBytes(a.t.Context(), name(file), data)
		must(a.t, err)
		return artifact
	}
	manifest, err := (&metadata.Release{
		Schema: metadata.Schema, Version: "more", Arch: arch,
		Kernel:    add(metadata.KernelFile, payload("more", metadata.KernelFile, kernelSize)),
		Initramfs: add(metadata.InitramfsFile, payload("more", metadata.InitramfsFile, initramfsSize)),
	}).Encode()
	must(a.t, err)
	add("unrelated", []byte("not asked for"))
	add(metadata.ManifestFile, bytes.Replace(manifest, []byte("{"), []byte(`{"requires":"releases/more/amd64/unrelated",`), 1))
	_, err = e.Commit(a.t.Context(), a.keys)
	must(a.t, err)
	a.dir = a.copyRepository()
}

// renew lets the owner sign every role anew, so that the node has none of them yet.
func (a *attacker) renew() {
	a.t.Helper()
	_, err := a.repo.Refresh(a.t.Context(), repository.RefreshOptions{Keys: a.keys, All: true})
	must(a.t, err)
	a.dir = a.copyRepository()
}
