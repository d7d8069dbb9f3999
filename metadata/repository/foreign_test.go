package repository

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/sigstore/sigstore/pkg/signature"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// object is a JSON object of metadata, of any shape.
type object = map[string]any

// foreignRepo makes a repository as other tools do, or as an attacker who holds
// all of its keys: whatever is put into the objects is signed and written.
type foreignRepo struct {
	t       testing.TB
	dir     string
	keys    heldKeys
	private map[string]crypto.Signer // by the id that this repository uses
	signed  map[string]object        // by role
	signers map[string][]string      // by role: key ids
	files   map[string]string        // by target name: content
	hashes  []string                 // of targets: sha256, sha512
	roots   int                      // that are written so far

	consistent bool // names with versions and hashes
	flat       bool // metadata beside targets/, not in metadata/
	pretty     bool // indented
	bare       bool // no length and hashes in snapshot and timestamp

	plainTargets bool     // targets lie under their plain names all the same
	dropped      []string // what the snapshot does not list
}

// heldKeys are private keys in memory, by our own id for them.
type heldKeys map[string]signature.Signer

func (h heldKeys) Signer(_ context.Context, id string) (signature.Signer, error) {
	if s, ok := h[id]; ok {
		return s, nil
	}
	return nil, ErrNoKey
}

// without returns the keys but for one, named by its id in the repository.
func (r *foreignRepo) without(ids ...string) heldKeys {
	left := maps.Clone(r.keys)
	for _, id := range ids {
		own, err := KeyID(r.private[id].Public())
		if err != nil {
			r.t.Fatal(err)
		}
		delete(left, own)
	}
	return left
}

// newForeign returns a repository with a root of two keys that must both sign, a
// role that is delegated to, key ids of its own, and fields that we do not know.
// Nothing is written yet.
func newForeign(t testing.TB) *foreignRepo {
	t.Helper()
	r := &foreignRepo{
		t: t, dir: t.TempDir(), keys: make(heldKeys), private: make(map[string]crypto.Signer),
		signed: make(map[string]object), hashes: []string{"sha256"}, consistent: true,
		signers: map[string][]string{Root: {"root-a", "root-b"}, Targets: {"targets-a"}, Snapshot: {"snapshot-a"}, Timestamp: {"timestamp-a"}, "tools": {"tools-a"}},
		files:   map[string]string{"readme.txt": "hello", "tools/bin/x": "a tool"},
	}
	roles, keys := object{}, object{}
	for role, ids := range r.signers {
		for _, id := range ids {
			entry := r.addKey(id)
			if role != "tools" {
				keys[id] = entry
			}
		}
		if role != "tools" {
			roles[role] = object{"keyids": ids, "threshold": len(ids), "x-other": "kept"}
		}
	}
	r.signed[Root] = r.object(Root, object{"consistent_snapshot": true, "keys": keys, "roles": roles, "x-root": object{"deep": []any{"kept", 1}}})
	r.signed[Targets] = r.object(Targets, object{"targets": object{}, "x-targets": true, "delegations": object{
		"keys": object{"tools-a": r.keyEntry("tools-a")},
		"roles": []any{object{"name": "tools", "keyids": []string{"tools-a"}, "threshold": 1, "terminating": false,
			"paths": []string{"tools/*/*"}, "x-role": "kept"}},
	}})
	r.signed["tools"] = r.object(Targets, object{"targets": object{}})
	r.signed[Snapshot] = r.object(Snapshot, object{"meta": object{}})
	r.signed[Timestamp] = r.object(Timestamp, object{"meta": object{}})
	return r
}

func (r *foreignRepo) object(kind string, more object) object {
	o := object{"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": "2030-01-01T00:00:00Z"}
	maps.Copy(o, more)
	return o
}

// addKey makes a key with that id and returns its entry.
func (r *foreignRepo) addKey(id string) object {
	private, err := GenerateKey(Ed25519)
	if err != nil {
		r.t.Fatal(err)
	}
	own, err := KeyID(private.Public())
	if err != nil {
		r.t.Fatal(err)
	}
	if r.keys[own], err = NewSigner(private); err != nil {
		r.t.Fatal(err)
	}
	r.private[id] = private
	return r.keyEntry(id)
}

func (r *foreignRepo) keyEntry(id string) object {
	key, _, err := tufKey(r.private[id].Public())
	if err != nil {
		r.t.Fatal(err)
	}
	return object{"keytype": key.Type, "scheme": key.Scheme, "keyval": object{"public": key.Value.PublicKey}, "x-key": "kept"}
}

// delegated returns the first role that targets delegates to.
func (r *foreignRepo) delegated() object {
	return r.signed[Targets]["delegations"].(object)["roles"].([]any)[0].(object)
}

// list lists the files in targets and tools, and writes them.
func (r *foreignRepo) list() {
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		role := Targets
		if path.Dir(name) != "." {
			role = "tools"
		}
		content := []byte(r.files[name])
		sums := object{}
		for _, algorithm := range r.hashes {
			sum := sha256.Sum256(content)
			hash := sum[:]
			if algorithm == "sha512" {
				sum := sha512.Sum512(content)
				hash = sum[:]
			}
			sums[algorithm] = hex.EncodeToString(hash)
			file := name
			if r.consistent && !r.plainTargets {
				file = metadata.HashedPath(name, hex.EncodeToString(hash))
			}
			if filepath.IsLocal(file) {
				r.put(path.Join("targets", file), content)
			}
		}
		r.signed[role]["targets"].(object)[name] = object{"length": len(content), "hashes": sums, "custom": object{"x": "kept"}}
	}
}

// write signs and writes everything: another root version, and all that is
// below it.
func (r *foreignRepo) write() {
	r.t.Helper()
	r.list()
	r.writeRoot()
	meta := r.signed[Snapshot]["meta"].(object)
	for role := range r.signed {
		if !isTopLevel(role) || role == Targets {
			meta[metaName(role)] = r.entry(role, r.writeRole(role))
		}
	}
	for _, name := range r.dropped {
		delete(meta, name)
	}
	r.signed[Timestamp]["meta"].(object)["snapshot.json"] = r.entry(Snapshot, r.writeRole(Snapshot))
	r.writeRole(Timestamp)
}

// writeRoot writes the root as the next version.
func (r *foreignRepo) writeRoot() {
	r.roots++
	r.signed[Root]["version"] = r.roots
	r.writeRole(Root)
}

// entry is what snapshot and timestamp say of a role.
func (r *foreignRepo) entry(role string, data []byte) object {
	e := object{"version": r.signed[role]["version"]}
	if !r.bare {
		sum := sha256.Sum256(data)
		e["length"], e["hashes"] = len(data), object{"sha256": hex.EncodeToString(sum[:])}
	}
	return e
}

func (r *foreignRepo) writeRole(role string) []byte {
	data := r.sign(role)
	name := metaName(role)
	if role == Root || r.consistent && role != Timestamp {
		name = strconv.Itoa(r.signed[role]["version"].(int)) + "." + name
	}
	if !r.flat {
		name = path.Join("metadata", name)
	}
	if filepath.IsLocal(name) {
		r.put(name, data)
	}
	return data
}

// sign returns the metadata of a role, signed by its signers.
func (r *foreignRepo) sign(role string) []byte {
	r.t.Helper()
	message, err := cjson.EncodeCanonical(r.signed[role])
	if err != nil {
		r.t.Fatal(err)
	}
	signatures := []object{}
	for _, id := range r.signers[role] {
		sig, err := r.private[id].Sign(nil, message, crypto.Hash(0))
		if err != nil {
			r.t.Fatal(err)
		}
		signatures = append(signatures, object{"keyid": id, "sig": hex.EncodeToString(sig)})
	}
	envelope := object{"signed": r.signed[role], "signatures": signatures}
	data, err := json.Marshal(envelope)
	if r.pretty && err == nil {
		data, err = json.MarshalIndent(envelope, "", " ")
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return data
}

func (r *foreignRepo) put(name string, data []byte) {
	file := filepath.Join(r.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *foreignRepo) store() storage.Reader { return storage.NewFolder(r.dir) }

// served is the repository under the names that go-tuf's client asks for.
func (r *foreignRepo) served() storage.Reader {
	dir := "metadata/"
	if r.flat {
		dir = ""
	}
	return &foreign{r.store(), dir, r.consistent}
}

// read returns a metadata file.
func (r *foreignRepo) read(name string) []byte {
	r.t.Helper()
	data, _, err := storage.ReadFile(r.t.Context(), r.served(), "metadata/"+name, maxMetadata)
	if err != nil {
		r.t.Fatal(err)
	}
	return data
}

// inconsistent makes it one without consistent snapshots.
func (r *foreignRepo) inconsistent() {
	r.consistent = false
	r.signed[Root]["consistent_snapshot"] = false
}
