package client_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
)

// epoch is when the repositories of these tests are made; the clients' clocks
// start there.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// key is a signing key with its TUF form.
type key struct {
	signature.Signer
	public *tuf.Key
}

// newKey makes a key from a name, so that a test's bytes are the same each time.
func newKey(t testing.TB, name string) key {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	private := ed25519.NewKeyFromSeed(seed[:])
	signer, err := signature.LoadED25519Signer(private)
	must(t, err)
	public, err := tuf.KeyFromPublicKey(private.Public())
	must(t, err)
	return key{signer, public}
}

// repo is a repository that a test can publish to, and break, at will.
type repo struct {
	t       testing.TB
	name    string
	dir     string
	keys    map[string][]key // per role: all of them sign
	version map[string]int64
	life    map[string]time.Duration
	now     time.Time
	content map[string][]byte
	targets *tuf.Metadata[tuf.TargetsType]
	roots   [][]byte // roots[i] is version i+1
	plain   bool     // no consistent snapshots
}

// newRepo makes a repository with release v1 in channel stable.
func newRepo(t testing.TB, name string) *repo {
	t.Helper()
	r := &repo{
		t: t, name: name, dir: t.TempDir(), now: epoch,
		keys:    make(map[string][]key),
		version: make(map[string]int64),
		life: map[string]time.Duration{
			tuf.ROOT: 365 * day, tuf.TARGETS: 90 * day, tuf.SNAPSHOT: 14 * day, tuf.TIMESTAMP: 7 * day,
		},
		content: make(map[string][]byte),
	}
	for _, role := range tuf.TOP_LEVEL_ROLE_NAMES {
		r.keys[role] = []key{newKey(t, name+role)}
	}
	must(t, os.MkdirAll(r.metadata(""), 0o700))
	r.targets = tuf.Targets()
	r.signRoot()
	r.release("v1", "stable")
	return r
}

func (r *repo) metadata(file string) string { return filepath.Join(r.dir, "metadata", file) }

func (r *repo) expires(role string) time.Time { return r.now.Add(r.life[role]) }

// signRoot publishes the next root, signed by the keys of the one before, given
// here, and its own.
func (r *repo) signRoot(before ...key) {
	r.t.Helper()
	md := r.nextRoot()
	sign(r.t, md, append(before, r.keys[tuf.ROOT]...)...)
	data := encode(r.t, md)
	r.roots = append(r.roots, data)
	r.write(fmt.Sprintf("%d.root.json", md.Signed.Version), data)
}

func (r *repo) nextRoot() *tuf.Metadata[tuf.RootType] {
	r.version[tuf.ROOT]++
	md := tuf.Root(r.expires(tuf.ROOT))
	md.Signed.Version = r.version[tuf.ROOT]
	md.Signed.ConsistentSnapshot = !r.plain
	for role, keys := range r.keys {
		if md.Signed.Roles[role] == nil {
			continue // a delegated role
		}
		for _, k := range keys {
			must(r.t, md.Signed.AddKey(k.public, role))
		}
		md.Signed.Roles[role].Threshold = len(keys)
	}
	return md
}

// rotate gives a role a new key and publishes the root that says so.
func (r *repo) rotate(role, name string) {
	r.t.Helper()
	before := r.keys[tuf.ROOT]
	r.keys[role] = []key{newKey(r.t, r.name+name)}
	if role != tuf.ROOT {
		before = nil // its own keys are the ones before
	}
	r.signRoot(before...)
}

// put adds or replaces a target; publish makes it known.
func (r *repo) put(name string, data []byte) metadata.Artifact {
	r.t.Helper()
	info, err := tuf.TargetFile().FromBytes(name, data, "sha256")
	must(r.t, err)
	r.targets.Signed.Targets[name] = info
	r.content[name] = data
	return r.store(name, data)
}

// store writes a target's bytes without a word in the metadata.
func (r *repo) store(name string, data []byte) metadata.Artifact {
	r.t.Helper()
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	path := filepath.Join(r.dir, "targets", metadata.HashedPath(name, digest))
	if r.plain {
		path = filepath.Join(r.dir, "targets", name)
	}
	must(r.t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(r.t, os.WriteFile(path, data, 0o600))
	return metadata.Artifact{Target: name, Length: int64(len(data)), SHA256: digest}
}

// stored returns where a target's bytes are.
func (r *repo) stored(a metadata.Artifact) string {
	return filepath.Join(r.dir, "targets", metadata.HashedPath(a.Target, a.SHA256))
}

// manifest puts a release's files and manifest and returns the reference to it.
func (r *repo) manifest(version string) (*metadata.Release, metadata.ReleaseRef) {
	r.t.Helper()
	file := func(name string) metadata.Artifact {
		data := []byte(fmt.Sprintf("%s of %s %s", name, r.name, version))
		return r.put(metadata.ReleaseTarget(version, "amd64", name), data)
	}
	release := &metadata.Release{
		Schema: metadata.Schema, Version: version, Arch: "amd64",
		Kernel: file(metadata.KernelFile), Initramfs: file(metadata.InitramfsFile),
	}
	data, err := release.Encode()
	must(r.t, err)
	a := r.put(metadata.ReleaseTarget(version, "amd64", metadata.ManifestFile), data)
	return release, metadata.ReleaseRef{Version: version, Target: a.Target, SHA256: metadata.ID(a.SHA256)}
}

// release publishes a release and points a channel to it.
func (r *repo) release(version, channel string) *metadata.Release {
	r.t.Helper()
	release, ref := r.manifest(version)
	r.point(channel, ref)
	r.publish()
	return release
}

// point puts a channel file.
func (r *repo) point(channel string, ref metadata.ReleaseRef) {
	r.t.Helper()
	ch := &metadata.Channel{
		Schema: metadata.Schema, Name: channel,
		Releases: map[string]metadata.ReleaseRef{"amd64": ref},
	}
	data, err := ch.Encode()
	must(r.t, err)
	r.put(metadata.ChannelTarget(channel), data)
}

// publish signs targets, snapshot and timestamp anew.
func (r *repo) publish() {
	r.t.Helper()
	r.publishTargets()
	r.publishSnapshot()
	r.publishTimestamp()
}

func (r *repo) next(role string) int64 {
	r.version[role]++
	return r.version[role]
}

func (r *repo) publishTargets() {
	r.t.Helper()
	r.targets.Signed.Version = r.next(tuf.TARGETS)
	r.targets.Signed.Expires = r.expires(tuf.TARGETS)
	sign(r.t, r.targets, r.keys[tuf.TARGETS]...)
	r.write(r.file(tuf.TARGETS), encode(r.t, r.targets))
}

// delegate publishes a delegated role's file with the given targets.
func (r *repo) delegate(role string, targets map[string]*tuf.TargetFiles, below *tuf.Delegations) {
	r.t.Helper()
	md := tuf.Targets(r.expires(tuf.TARGETS))
	md.Signed.Version = r.next(role)
	maps.Copy(md.Signed.Targets, targets)
	md.Signed.Delegations = below
	sign(r.t, md, r.keys[role]...)
	r.write(r.file(role), encode(r.t, md))
}

func (r *repo) publishSnapshot() {
	r.t.Helper()
	md := tuf.Snapshot(r.expires(tuf.SNAPSHOT))
	md.Signed.Version = r.next(tuf.SNAPSHOT)
	for role := range r.version {
		if role != tuf.ROOT && role != tuf.SNAPSHOT && role != tuf.TIMESTAMP {
			md.Signed.Meta[role+".json"] = r.meta(role)
		}
	}
	sign(r.t, md, r.keys[tuf.SNAPSHOT]...)
	r.write(r.file(tuf.SNAPSHOT), encode(r.t, md))
}

func (r *repo) publishTimestamp() {
	r.t.Helper()
	md := tuf.Timestamp(r.expires(tuf.TIMESTAMP))
	md.Signed.Version = r.next(tuf.TIMESTAMP)
	md.Signed.Meta["snapshot.json"] = r.meta(tuf.SNAPSHOT)
	sign(r.t, md, r.keys[tuf.TIMESTAMP]...)
	r.write("timestamp.json", encode(r.t, md))
}

// file returns the name of a role's newest file.
func (r *repo) file(role string) string {
	if role == tuf.TIMESTAMP || r.plain {
		return role + ".json"
	}
	return strconv.FormatInt(r.version[role], 10) + "." + role + ".json"
}

// meta describes a role's newest file, with length and hash.
func (r *repo) meta(role string) *tuf.MetaFiles {
	r.t.Helper()
	data := r.read(r.file(role))
	sum := sha256.Sum256(data)
	return &tuf.MetaFiles{
		Version: r.version[role], Length: int64(len(data)),
		Hashes: tuf.Hashes{"sha256": sum[:]},
	}
}

func (r *repo) write(file string, data []byte) {
	r.t.Helper()
	must(r.t, os.WriteFile(r.metadata(file), data, 0o600))
}

func (r *repo) read(file string) []byte {
	r.t.Helper()
	data, err := os.ReadFile(r.metadata(file))
	must(r.t, err)
	return data
}

// sign replaces the signatures of md.
func sign[T tuf.Roles](t testing.TB, md *tuf.Metadata[T], keys ...key) {
	t.Helper()
	md.ClearSignatures()
	seen := make(map[string]bool)
	for _, k := range keys {
		id, err := k.public.ID()
		must(t, err)
		if seen[id] {
			continue
		}
		seen[id] = true
		_, err = md.Sign(k)
		must(t, err)
	}
}

func encode[T tuf.Roles](t testing.TB, md *tuf.Metadata[T]) []byte {
	t.Helper()
	data, err := md.ToBytes(false)
	must(t, err)
	return data
}

func hexOf(sum []byte) string { return hex.EncodeToString(sum) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
