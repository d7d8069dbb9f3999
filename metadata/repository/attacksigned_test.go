package repository

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tufboot/internal/console"
	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// signedAttack is a row of what somebody signs who holds all keys of a
// repository, and who wants to harm those who read it, copy it or publish to it.
type signedAttack struct {
	name    string
	spoil   func(r *foreignRepo)
	after   func(r *foreignRepo)
	verify  string // the answer of verify: exit code and reason
	publish string // the answer of publish; "": as verify
}

const (
	done    = "0"
	bad     = "4 " + ReasonBadRepository
	expired = "4 metadata-expired"
)

func signedAttacks() []signedAttack {
	return []signedAttack{
		{name: "nothing", verify: done},

		// Names.
		{name: "target ../x", spoil: func(r *foreignRepo) { r.list(); r.target("../x", r.targetOf("readme.txt")) }, verify: bad, publish: done},
		{name: "target ../x of a role that it is not delegated to", spoil: func(r *foreignRepo) { r.files["../x"] = "evil" }, verify: done},
		{name: "target /x", spoil: func(r *foreignRepo) { r.list(); r.target("/x", r.targetOf("readme.txt")) }, verify: bad, publish: done},
		{name: "target a//x", spoil: func(r *foreignRepo) { r.files["tools//x"] = "evil" }, verify: bad, publish: done},
		{name: "target .", spoil: func(r *foreignRepo) { r.list(); r.target(".", r.targetOf("readme.txt")) }, verify: bad, publish: done},
		{name: "role ../x", spoil: func(r *foreignRepo) { r.rename("../x") }, verify: bad, publish: done},
		{name: "role /../../x", spoil: func(r *foreignRepo) { r.rename("/../../x") }, verify: bad, publish: done},
		{name: "role timestamp", spoil: func(r *foreignRepo) { r.forget("tools"); r.delegated()["name"] = Timestamp }, verify: bad, publish: done},
		{name: "channel that names a release ../../etc/shadow", spoil: func(r *foreignRepo) { r.channel("../../etc/shadow") }, verify: bad, publish: bad},
		{name: "channel file of another channel", spoil: func(r *foreignRepo) { r.channelNamed("beta", "releases/1/amd64/release.json") }, verify: bad, publish: done},
		{name: "manifest that names a kernel ../../../x", spoil: func(r *foreignRepo) { r.manifest("../../../x") }, verify: bad, publish: done},
		{name: "manifest that names a kernel of nobody", spoil: func(r *foreignRepo) { r.manifest("releases/1/amd64/vmlinuz") }, verify: bad, publish: done},

		// Keys and thresholds.
		{name: "threshold 0", spoil: func(r *foreignRepo) { r.role(Snapshot)["threshold"] = 0 }, verify: bad},
		{name: "threshold -1", spoil: func(r *foreignRepo) { r.role(Targets)["threshold"] = -1 }, verify: bad},
		{name: "threshold 0 of a delegation", spoil: func(r *foreignRepo) { r.delegated()["threshold"] = 0 }, verify: bad, publish: done},
		{name: "threshold above the keys", spoil: func(r *foreignRepo) { r.role(Targets)["threshold"] = 2 }, verify: bad},
		{name: "threshold 2 by one key under two ids", spoil: func(r *foreignRepo) { r.alias(Targets, "targets-a", "b"); r.role(Targets)["threshold"] = 2 }, verify: bad},
		{name: "one key under two ids, threshold 1", spoil: func(r *foreignRepo) { r.alias(Targets, "targets-a", "b") }, verify: done},
		{name: "no keys", spoil: func(r *foreignRepo) { r.role(Targets)["keyids"] = []string{} }, verify: bad},
		{name: "a key id without a key", spoil: func(r *foreignRepo) { delete(r.signed[Root]["keys"].(object), "targets-a") }, verify: bad},
		{name: "wrong signer", spoil: func(r *foreignRepo) { r.signers[Snapshot] = []string{"targets-a"} }, verify: bad},
		{name: "two signatures by one key", spoil: func(r *foreignRepo) { r.signers[Targets] = []string{"targets-a", "targets-a"} }, verify: bad},

		// Time and numbers.
		{name: "an expired root", spoil: func(r *foreignRepo) { r.expire(Root) }, verify: expired, publish: done},
		{name: "an expired timestamp", spoil: func(r *foreignRepo) { r.expire(Timestamp) }, verify: expired, publish: done},
		{name: "an expired snapshot", spoil: func(r *foreignRepo) { r.expire(Snapshot) }, verify: expired, publish: done},
		{name: "expired targets", spoil: func(r *foreignRepo) { r.expire(Targets) }, verify: expired, publish: done},
		{name: "an expired delegation", spoil: func(r *foreignRepo) { r.expire("tools") }, verify: expired, publish: done},
		{name: "another version than the snapshot says", after: func(r *foreignRepo) {
			r.signed[Targets]["version"] = 7
			r.bare = true
			r.put("metadata/1.targets.json", r.sign(Targets))
		}, spoil: func(r *foreignRepo) { r.bare = true }, verify: bad},

		// Shapes.
		{name: "a snapshot that drops a role", spoil: func(r *foreignRepo) { r.drop("tools.json") }, verify: bad, publish: done},
		{name: "a snapshot that drops targets", spoil: func(r *foreignRepo) { r.drop("targets.json") }, verify: bad},
		{name: "a timestamp that names nothing", after: func(r *foreignRepo) {
			r.signed[Timestamp]["meta"] = object{}
			r.writeRole(Timestamp)
		}, verify: bad},
		{name: "a delegation to itself", spoil: func(r *foreignRepo) { r.loop("tools") }, verify: done},
		{name: "a delegation loop", spoil: func(r *foreignRepo) { r.chain("more"); r.loop("more") }, verify: done},
		{name: "forty delegations deep", spoil: func(r *foreignRepo) {
			for n := range 40 {
				r.chain(fmt.Sprintf("deep%d", n))
			}
			r.signed["deep0"]["targets"].(object)["tools/deep/x"] = object{"length": 1, "hashes": object{"sha256": strings.Repeat("ab", 32)}}
		}, verify: bad, publish: done},
		{name: "a target that is null", spoil: func(r *foreignRepo) { r.target("x", nil) }, verify: bad},
		{name: "a role that is null", spoil: func(r *foreignRepo) { r.signed[Root]["roles"].(object)[Targets] = nil }, verify: bad},
		{name: "delegations that are null", spoil: func(r *foreignRepo) { r.signed[Targets]["delegations"] = nil; r.forget("tools") }, verify: bad},
		{name: "a negative length", spoil: func(r *foreignRepo) { r.list(); t := r.targetOf("readme.txt"); t["length"] = -1; r.target("x", t) }, verify: bad, publish: done},
		{name: "a target without a SHA-256", spoil: func(r *foreignRepo) { r.hashes = []string{"sha512"} }, verify: bad, publish: done},
		{name: "another type", spoil: func(r *foreignRepo) { r.signed[Targets]["_type"] = Snapshot }, verify: bad},
	}
}

// TestSignedAttacks runs every command that reads a repository. Whatever the
// answer is, it comes soon, and nothing is written outside of the repository.
func TestSignedAttacks(t *testing.T) {
	for _, row := range signedAttacks() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newForeign(t)
			outside := t.TempDir()
			r.dir = filepath.Join(outside, "a", "b", "repo")
			if row.spoil != nil {
				row.spoil(r)
			}
			r.write()
			if row.after != nil {
				row.after(r)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if got := answer(r.verify(ctx)); got != row.verify {
				t.Errorf("verify: %s, want %s (%v)", got, row.verify, r.verify(ctx))
			}
			for name, do := range map[string]func(context.Context) error{"status": r.status, "list": r.listReleases, "import": r.importIt} {
				err := do(ctx)
				if code := console.ExitCode(err); code == console.ExitUsage || code > console.ExitVerification {
					t.Errorf("%s: exit code %d (%v)", name, code, err)
				}
			}
			want := row.publish
			if want == "" {
				want = row.verify
			}
			if err := r.publish(ctx); answer(err) != want {
				t.Errorf("publish: %s, want %s (%v)", answer(err), want, err)
			}
			for name := range contentOf(t, outside) {
				if !strings.HasPrefix(name, "a/b/repo/") {
					t.Errorf("%s is outside of the repository", name)
				}
			}
		})
	}
}

// answer is the exit code and the reason.
func answer(err error) string {
	if err == nil {
		return done
	}
	return fmt.Sprintf("%d %s", console.ExitCode(err), console.ReasonCode(err))
}

func (r *foreignRepo) open() *Repository {
	return newRepository(storage.NewFolder(r.dir), at(start))
}

func (r *foreignRepo) verify(ctx context.Context) error {
	_, err := Verify(ctx, r.store(), VerifyOptions{Options: at(start)})
	return err
}

func (r *foreignRepo) status(ctx context.Context) error {
	_, err := r.open().Status(ctx)
	return err
}

func (r *foreignRepo) listReleases(ctx context.Context) error {
	_, err := r.open().List(ctx)
	return err
}

func (r *foreignRepo) importIt(ctx context.Context) error {
	t := r.t.(*testing.T)
	opts, _ := importOptions(t, r.keys)
	_, err := Import(ctx, r.store(), storage.NewFolder(t.TempDir()), opts)
	return err
}

func (r *foreignRepo) publish(ctx context.Context) error {
	t := r.t.(*testing.T)
	_, err := r.open().Publish(ctx, release(t, r.keys, "3.0", "3.0"))
	return err
}

// role returns the entry of a top-level role.
func (r *foreignRepo) role(name string) object {
	return r.signed[Root]["roles"].(object)[name].(object)
}

func (r *foreignRepo) expire(role string) { r.signed[role]["expires"] = "2025-12-31T23:59:59Z" }

func (r *foreignRepo) target(name string, t any) {
	r.signed[Targets]["targets"].(object)[name] = t
}

// targetOf returns a copy of a target's entry.
func (r *foreignRepo) targetOf(name string) object {
	c := object{}
	for k, v := range r.signed[Targets]["targets"].(object)[name].(object) {
		c[k] = v
	}
	return c
}

// drop leaves a role out of the snapshot.
func (r *foreignRepo) drop(name string) { r.dropped = append(r.dropped, name) }

// forget removes a delegated role.
func (r *foreignRepo) forget(role string) {
	delete(r.signed, role)
	for name := range r.files {
		if strings.Contains(name, "/") {
			delete(r.files, name)
		}
	}
}

// chain puts a role between tools and whatever it delegates to.
func (r *foreignRepo) chain(role string) {
	r.signers[role] = []string{"tools-a"}
	r.signed[role] = r.object(Targets, object{"targets": object{}})
	if d, ok := r.signed["tools"]["delegations"]; ok {
		r.signed[role]["delegations"] = d
	}
	r.loop(role)
}

// loop makes tools delegate to a role, and where that is another one without
// delegations, that one to tools.
func (r *foreignRepo) loop(role string) {
	to := func(role string) object {
		return object{"keys": object{"tools-a": r.keyEntry("tools-a")}, "roles": []any{object{
			"name": role, "keyids": []string{"tools-a"}, "threshold": 1, "terminating": false, "paths": []string{"tools/*/*"},
		}}}
	}
	again := r.signed["tools"]["delegations"] != nil && r.signed[role]["delegations"] == nil
	r.signed["tools"]["delegations"] = to(role)
	if again {
		r.signed[role]["delegations"] = to("tools")
	}
}

// channel adds a channel file that points to a target.
func (r *foreignRepo) channel(target string) { r.channelNamed("stable", target) }

func (r *foreignRepo) channelNamed(name, target string) {
	r.delegated()["paths"] = []string{"*/*", "*/*/*", "*/*/*/*"}
	r.files[metadata.ChannelTarget("stable")] = fmt.Sprintf(
		`{"schema":1,"name":%q,"releases":{"amd64":{"version":"1","target":%q,"sha256":"%064d"}}}`, name, target, 1)
}

// manifest adds a release manifest that names a kernel.
func (r *foreignRepo) manifest(kernel string) {
	r.delegated()["paths"] = []string{"*/*", "*/*/*", "*/*/*/*"}
	r.files[metadata.ReleaseTarget("1", "amd64", metadata.ManifestFile)] = fmt.Sprintf(
		`{"schema":1,"version":"1","arch":"amd64","kernel":{"target":%q,"length":1,"sha256":"%064d"},"initramfs":{"target":%q,"length":1,"sha256":"%064d"}}`,
		kernel, 1, kernel, 1)
}
