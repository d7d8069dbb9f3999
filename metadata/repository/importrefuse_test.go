package repository

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/metadata/storage"
)

// importRefusal is a repository that is not taken over.
type importRefusal struct {
	name   string
	spoil  func(r *foreignRepo)            // before it is written
	after  func(r *foreignRepo)            // after it is written; nil: nothing
	keys   func(r *foreignRepo) heldKeys   // nil: all
	place  func(r *foreignRepo, to string) // what is there already; nil: nothing
	reason string
	says   string // a part of the error, or of what to do
}

func importRefusals() []importRefusal {
	return []importRefusal{
		{name: "root keys below the threshold", keys: func(r *foreignRepo) heldKeys { return r.without("root-b") },
			reason: ReasonNotEnoughKeys, says: "root propose"},
		{name: "targets key missing", keys: func(r *foreignRepo) heldKeys { return r.without("targets-a") },
			reason: ReasonNotEnoughKeys, says: "--replace targets"},
		{name: "timestamp key missing", keys: func(r *foreignRepo) heldKeys { return r.without("timestamp-a") },
			reason: ReasonNotEnoughKeys, says: "--replace timestamp"},
		{name: "a delegated role must be signed again, and its key is missing", spoil: func(r *foreignRepo) { r.hashes = []string{"sha512"} },
			keys: func(r *foreignRepo) heldKeys { return r.without("tools-a") }, reason: ReasonNotEnoughKeys, says: "role tools"},

		{name: "no repository", after: func(r *foreignRepo) { r.remove("metadata/1.root.json") }, reason: ReasonNotRepository},
		{name: "no timestamp", after: func(r *foreignRepo) { r.remove("metadata/timestamp.json") }, reason: ReasonBadRepository},
		{name: "a root that the one before does not vouch for", after: func(r *foreignRepo) {
			r.signed[Root]["roles"].(object)[Root] = object{"keyids": []string{"targets-a"}, "threshold": 1}
			r.signers[Root] = []string{"targets-a"}
			r.writeRoot()
		}, reason: ReasonBadRepository, says: "2.root.json is not signed by the keys of the version before"},
		{name: "a root of another number", after: func(r *foreignRepo) {
			r.put("metadata/2.root.json", r.sign(Root))
		}, reason: ReasonBadRepository, says: "holds version 1"},
		{name: "wrong signer", spoil: func(r *foreignRepo) { r.signers[Snapshot] = []string{"targets-a"} }, reason: ReasonBadRepository},
		{name: "wrong signer of a delegated role", spoil: func(r *foreignRepo) { r.signers["tools"] = []string{"targets-a"} }, reason: ReasonBadRepository},

		{name: "one key under two ids", spoil: func(r *foreignRepo) { r.alias(Targets, "targets-a", "targets-b") },
			reason: ReasonDuplicateKey, says: "replace the keys of role targets"},
		{name: "threshold 2 by one key under two ids", spoil: func(r *foreignRepo) {
			r.alias(Targets, "targets-a", "targets-b")
			r.signed[Root]["roles"].(object)[Targets].(object)["threshold"] = 2
		}, reason: ReasonBadRepository},
		{name: "threshold 0", spoil: func(r *foreignRepo) { r.signed[Root]["roles"].(object)[Targets].(object)["threshold"] = 0 }, reason: ReasonBadRepository},
		{name: "threshold 0 of a delegation", spoil: func(r *foreignRepo) { r.delegated()["threshold"] = 0 }, reason: ReasonBadRepository},

		{name: "a target name that leads out", spoil: func(r *foreignRepo) { r.files["../x"] = "evil" }, reason: ReasonUnsupported, says: `"../x"`},
		{name: "an absolute target name", spoil: func(r *foreignRepo) { r.files["/etc/x"] = "evil" }, reason: ReasonUnsupported},
		{name: "a target name with a space", spoil: func(r *foreignRepo) { r.files["a b"] = "odd" }, reason: ReasonUnsupported},
		{name: "a role name that leads out", spoil: func(r *foreignRepo) { r.rename("../tools") }, reason: ReasonBadRepository, says: "cannot name a delegated role"},
		{name: "a role with the name of one of ours", spoil: func(r *foreignRepo) { r.rename(Releases) }, reason: ReasonUnsupported, says: "role releases already"},
		{name: "a role with the name of one of our bins", spoil: func(r *foreignRepo) { r.rename(Releases + "-0") }, reason: ReasonUnsupported},
		{name: "a target where our roles will be responsible", spoil: func(r *foreignRepo) { r.files["releases/1/amd64/vmlinuz"] = "theirs" },
			reason: ReasonUnsupported, says: "releases/1/amd64/vmlinuz"},
		{name: "hash bins of targets itself", spoil: func(r *foreignRepo) { r.bins(1) }, reason: ReasonUnsupported, says: "hash bins"},
		{name: "four billion hash bins", spoil: func(r *foreignRepo) { r.bins(32) }, reason: ReasonBadRepository, says: "2^32"},
		{name: "a hash that we cannot compute", spoil: func(r *foreignRepo) {
			r.signed["tools"]["targets"].(object)["tools/bin/y"] = object{"length": 1, "hashes": object{"blake2b-256": strings.Repeat("ab", 32)}}
		}, reason: ReasonUnsupported, says: "tools/bin/y"},
		{name: "a target that is null", spoil: func(r *foreignRepo) { r.signed["tools"]["targets"].(object)["tools/bin/y"] = nil }, reason: ReasonBadRepository},

		{name: "a target is missing", after: func(r *foreignRepo) { r.remove("targets") }, reason: ReasonBadRepository, says: "is missing"},
		{name: "a target is shorter", after: func(r *foreignRepo) { r.rewrite("*.readme.txt", "hell") }, reason: "bad-length"},
		{name: "a target is longer", after: func(r *foreignRepo) { r.rewrite("*.readme.txt", "hello!") }, reason: "bad-length"},
		{name: "a target is another", after: func(r *foreignRepo) { r.rewrite("*.readme.txt", "hallo") }, reason: "bad-hash"},

		{name: "a place in use", place: func(r *foreignRepo, to string) { r.copyTo(to, "metadata/timestamp.json") }, reason: ReasonExists},
		{name: "a place with another root", place: func(r *foreignRepo, to string) {
			other := newForeign(r.t)
			other.write()
			other.copyTo(to, "metadata/1.root.json")
		}, reason: ReasonExists, says: "another"},
		{name: "a place with other metadata", place: func(r *foreignRepo, to string) {
			other := newForeign(r.t)
			other.write()
			other.copyTo(to, "metadata/1.targets.json")
		}, reason: ReasonExists},
	}
}

// TestImportRefuses: nothing that a client could take for a repository is at the
// new place afterwards, and the old one is as it was.
func TestImportRefuses(t *testing.T) {
	for _, c := range importRefusals() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newForeign(t)
			if c.spoil != nil {
				c.spoil(r)
			}
			r.write()
			if c.after != nil {
				c.after(r)
			}
			held := r.keys
			if c.keys != nil {
				held = c.keys(r)
			}
			to := t.TempDir()
			if c.place != nil {
				c.place(r, to)
			}
			before, place := tree(t, r.dir), tree(t, to)
			opts, _ := importOptions(t, held)
			_, err := Import(t.Context(), r.store(), storage.NewFolder(to), opts)
			if err == nil {
				t.Fatal("it was taken over")
			}
			wantReason(t, err, c.reason)
			text := err.Error()
			var refused *RefusedError
			if errors.As(err, &refused) {
				text += " " + refused.Advice
			}
			if !strings.Contains(text, c.says) {
				t.Errorf("got %q, want %q in it", text, c.says)
			}
			if after := tree(t, r.dir); strings.Join(before, "\n") != strings.Join(after, "\n") {
				t.Error("the old repository was changed")
			}
			if _, err := os.Stat(filepath.Join(to, "metadata", "timestamp.json")); err == nil && c.name != "a place in use" {
				t.Error("there is a timestamp")
			}
			if c.place != nil && strings.Join(place, "\n") == "" {
				t.Error("the test put nothing there")
			}
		})
	}
}

// remove takes a file or folder away.
func (r *foreignRepo) remove(name string) {
	if err := os.RemoveAll(filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

// rewrite gives the target that the pattern finds other content.
func (r *foreignRepo) rewrite(pattern, content string) {
	found, err := filepath.Glob(filepath.Join(r.dir, "targets", pattern))
	if err != nil || len(found) != 1 {
		r.t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	if err := os.WriteFile(found[0], []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// copyTo puts one of its files to another place.
func (r *foreignRepo) copyTo(to, name string) {
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	other := &foreignRepo{t: r.t, dir: to}
	other.put(name, data)
}

// alias lists a role's key under another id too, and signs with both.
func (r *foreignRepo) alias(role, id, other string) {
	r.private[other] = r.private[id]
	r.signed[Root]["keys"].(object)[other] = r.keyEntry(id)
	r.signed[Root]["roles"].(object)[role].(object)["keyids"] = []string{id, other}
	r.signers[role] = []string{id, other}
}

// rename gives the role tools another name.
func (r *foreignRepo) rename(role string) {
	r.delegated()["name"] = role
	r.signed[role], r.signers[role] = r.signed["tools"], r.signers["tools"]
	for name := range r.files {
		if strings.HasPrefix(name, "tools/") {
			delete(r.files, name)
		}
	}
	delete(r.signed, "tools")
}

// bins makes targets delegate to hash bins.
func (r *foreignRepo) bins(bits int) {
	delegations := r.signed[Targets]["delegations"].(object)
	delete(delegations, "roles")
	delegations["succinct_roles"] = object{"keyids": []string{"tools-a"}, "threshold": 1, "bit_length": bits, "name_prefix": "tools"}
}
