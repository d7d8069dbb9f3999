package repository

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"tufboot/metadata/storage"
)

// importOptions adds a key for publishing to the keys of a foreign repository.
func importOptions(t *testing.T, held heldKeys, replace ...string) (ImportOptions, heldKeys) {
	t.Helper()
	all := maps.Clone(held)
	roles := make(map[string]RoleKeys)
	for _, role := range append(replace, Releases) {
		private, err := GenerateKey(Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		id, err := KeyID(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		if all[id], err = NewSigner(private); err != nil {
			t.Fatal(err)
		}
		roles[role] = RoleKeys{Keys: []crypto.PublicKey{private.Public()}, Threshold: 1}
	}
	roles[Channels] = roles[Releases]
	return ImportOptions{Options: at(start), Keys: all, Roles: roles}, all
}

// TestImport takes over repositories in all the forms that other tools write.
func TestImport(t *testing.T) {
	for name, form := range map[string]func(r *foreignRepo){
		"as python-tuf has it":               func(r *foreignRepo) { r.bare = true },
		"indented, as tuf-on-ci has it":      func(r *foreignRepo) { r.pretty = true },
		"lengths and hashes":                 func(*foreignRepo) {},
		"no consistent snapshots":            func(r *foreignRepo) { r.inconsistent() },
		"as go-tuf v0.7 has it":              func(r *foreignRepo) { r.flat, r.hashes = true, []string{"sha512"} },
		"go-tuf v0.7, no consistent ones":    func(r *foreignRepo) { r.flat, r.hashes = true, []string{"sha512"}; r.inconsistent() },
		"two hashes a target":                func(r *foreignRepo) { r.hashes = []string{"sha256", "sha512"} },
		"hashes in metadata, not in targets": func(r *foreignRepo) { r.plainTargets = true },
		"no delegations": func(r *foreignRepo) {
			delete(r.signed[Targets], "delegations")
			delete(r.signed, "tools")
			delete(r.files, "tools/bin/x")
		},
		"empty delegations": func(r *foreignRepo) {
			r.signed[Targets]["delegations"] = object{"keys": object{}, "roles": []any{}}
			delete(r.signed, "tools")
			delete(r.files, "tools/bin/x")
		},
		"nothing in it": func(r *foreignRepo) { r.files = nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := newForeign(t)
			form(r)
			r.write()
			r.write()
			wantImported(t, r, name)
		})
	}
}

func wantImported(t *testing.T, r *foreignRepo, form string) {
	t.Helper()
	before := tree(t, r.dir)
	// A client that has read the old repository, and one that is only built with
	// its first root.
	old := &follower{t: t, root: r.read("1.root.json"), cache: t.TempDir()}
	old.mustRead(r.served(), r.files)
	opts, keys := importOptions(t, r.keys)
	to := storage.NewFolder(t.TempDir())
	got, err := Import(t.Context(), r.store(), to, opts)
	if err != nil {
		t.Fatal(err)
	}
	if got.Roots != 2 || got.Targets != len(r.files) || got.Versions.Root != 3 {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(before, tree(t, r.dir)) {
		t.Error("the old repository was changed")
	}
	for _, name := range []string{"1.root.json", "2.root.json"} {
		if data, err := os.ReadFile(filepath.Join(to.String(), "metadata", name)); err != nil || string(data) != string(r.read(name)) {
			t.Errorf("%s is not the old one (%v)", name, err)
		}
	}
	repo, err := Open(t.Context(), to, at(start))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, repo, keys, "1.0")
	for _, client := range []*follower{old, {t: t, root: r.read("1.root.json"), cache: t.TempDir()}, {t: t, root: r.read("2.root.json"), cache: t.TempDir()}} {
		client.mustRead(to, r.files)
	}
	newReader(t, to.String()).sees("1.0")
	if v, err := Verify(t.Context(), to, VerifyOptions{Options: at(start)}); err != nil || v.Releases != 1 || v.Targets != len(r.files)+4 {
		t.Errorf("Verify: %+v, %v", v, err)
	}
	wantUnknownFields(t, to, form)
}

// wantUnknownFields checks that what we do not know is still there.
func wantUnknownFields(t *testing.T, to *storage.Folder, form string) {
	t.Helper()
	st, err := load(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	root, targets := &st.root.Signed, &st.targets().Signed
	for what, fields := range map[string]map[string]any{
		"x-root": root.UnrecognizedFields, "x-other": root.Roles[Snapshot].UnrecognizedFields,
		"x-key": root.Keys["root-a"].UnrecognizedFields, "x-targets": targets.UnrecognizedFields,
	} {
		if fields[what] == nil {
			t.Errorf("%s is lost: %v", what, fields)
		}
	}
	if !strings.Contains(form, "delegations") {
		roles := targets.Delegations.Roles
		if len(roles) != 3 || roles[0].Name != Channels || roles[1].Name != Releases || roles[2].UnrecognizedFields["x-role"] != "kept" {
			t.Errorf("delegations: %+v", roles)
		}
	}
	if form != "nothing in it" && (targets.Targets["readme.txt"].Custom == nil || len(targets.Targets["readme.txt"].Hashes) != 1) {
		t.Errorf("target: %+v", targets.Targets["readme.txt"])
	}
}

// follower is go-tuf's client, with a cache, for repositories of any tool.
type follower struct {
	t     *testing.T
	root  []byte
	cache string
}

// mustRead refreshes and reads every file.
func (f *follower) mustRead(from storage.Reader, files map[string]string) {
	f.t.Helper()
	cfg, err := config.New("file:///metadata", f.root)
	if err != nil {
		f.t.Fatal(err)
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = f.cache, f.cache
	cfg.Fetcher = readerFetcher{f.t.Context(), from}
	client, err := updater.New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	client.UnsafeSetRefTime(start)
	if err := client.Refresh(); err != nil {
		f.t.Fatal(err)
	}
	for name, content := range files {
		info, err := client.GetTargetInfo(name)
		if err != nil {
			f.t.Fatal(err)
		}
		if err := info.VerifyLengthHashes([]byte(content)); err != nil {
			f.t.Errorf("%s: %v", name, err)
		}
		if sum := sumOf(info); sum != "" {
			data, err := readMetadata(f.t.Context(), from, targetFile(name, sum))
			if err == nil && string(data) != content {
				f.t.Errorf("%s: read %q", name, data)
			}
		}
	}
}

// TestImportReplacesKeys gives each role new keys; those that are replaced are
// not needed, but for root's.
func TestImportReplacesKeys(t *testing.T) {
	r := newForeign(t)
	r.write()
	opts, keys := importOptions(t, r.without("targets-a", "snapshot-a", "timestamp-a"), Roles()...)
	opts.Policy = Policy{Timestamp: {Expiry: 3 * day, Window: day}}
	to := storage.NewFolder(t.TempDir())
	if _, err := Import(t.Context(), r.store(), to, opts); err != nil {
		t.Fatal(err)
	}
	repo, err := Open(t.Context(), to, at(start))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, repo, keys, "1.0")
	(&follower{t: t, root: r.read("1.root.json"), cache: t.TempDir()}).mustRead(to, r.files)
	st, err := load(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(st.root.Signed.Keys); n != 4 {
		t.Errorf("the new root lists %d keys, want the 4 new ones", n)
	}
	if got := st.policy(liveRole{Timestamp, Root}); got != (RolePolicy{Expiry: 3 * day, Window: day}) {
		t.Errorf("policy of timestamp: %+v", got)
	}
}

// TestImportKeepsThePolicyOfTUFOnCI reads what tuf-on-ci has stored.
func TestImportKeepsThePolicyOfTUFOnCI(t *testing.T) {
	r := newForeign(t)
	const expiry, window = "x-tuf-on-ci-expiry-period", "x-tuf-on-ci-signing-period"
	r.signed[Root][expiry], r.signed[Root][window] = 365, 61
	timestamp := r.signed[Root]["roles"].(object)[Timestamp].(object)
	timestamp[expiry], timestamp[window] = 4, 2
	snapshot := r.signed[Root]["roles"].(object)[Snapshot].(object)
	snapshot[expiry], snapshot[window] = 4, 5 // makes no sense to us
	r.write()
	opts, _ := importOptions(t, r.keys)
	to := storage.NewFolder(t.TempDir())
	if _, err := Import(t.Context(), r.store(), to, opts); err != nil {
		t.Fatal(err)
	}
	st, err := load(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultPolicy()
	want[Root], want[Timestamp] = RolePolicy{365 * day, 61 * day}, RolePolicy{4 * day, 2 * day}
	for role, p := range policyOf(&st.root.Signed) {
		if p != want[role] {
			t.Errorf("%s: %+v, want %+v", role, p, want[role])
		}
	}
}

// TestImportCrash stops an import at every write: until the last nobody can read
// the new place, and the next import completes it.
func TestImportCrash(t *testing.T) {
	var r *foreignRepo
	var opts ImportOptions
	var dir string
	eachCrash(t, func(t *testing.T, crash *crashStore) error {
		r = newForeign(t)
		r.write()
		opts, _ = importOptions(t, r.keys)
		dir = t.TempDir()
		crash.Folder = storage.NewFolder(dir)
		_, err := Import(t.Context(), r.store(), crash, opts)
		return err
	}, func(t *testing.T) {
		to := storage.NewFolder(dir)
		_, err := to.Stat(t.Context(), timestampFile)
		done := err == nil
		opts.Options = at(start.Add(time.Hour)) // what is signed now is not what was signed then
		_, err = Import(t.Context(), r.store(), to, opts)
		if done {
			wantReason(t, err, ReasonExists)
		} else if err != nil {
			t.Fatal(err)
		}
		(&follower{t: t, root: r.read("1.root.json"), cache: t.TempDir()}).mustRead(to, r.files)
		if _, err := Verify(t.Context(), to, VerifyOptions{Options: at(start)}); err != nil {
			t.Error(err)
		}
		wantClean(t, &Repository{store: to})
	})
}

// TestImportRehearses lets a client that holds the old state try the new one.
func TestImportRehearses(t *testing.T) {
	r := newForeign(t)
	r.write()
	opts, _ := importOptions(t, r.keys)
	wrong := errors.New("a client refuses")
	opts.Rehearse = func(ctx context.Context, steps []storage.Reader, past []Past) error {
		if len(steps) != 1 || len(past) != 1 || past[0].Root != 1 || string(past[0].Timestamp) != string(r.read("timestamp.json")) {
			return fmt.Errorf("%d steps, past %+v", len(steps), past)
		}
		if _, err := load(ctx, steps[0]); err != nil {
			return err
		}
		return wrong
	}
	to := storage.NewFolder(t.TempDir())
	_, err := Import(t.Context(), r.store(), to, opts)
	wantReason(t, err, ReasonRegression)
	if !errors.Is(err, wrong) {
		t.Error(err)
	}
	if _, err := to.Stat(t.Context(), timestampFile); err == nil {
		t.Error("it is published all the same")
	}
}

// TestImportAfterEvent is the way for those who cannot bring the old root keys
// together: an event gives the root another key, each holder signs it apart, and
// then the new key alone is enough.
func TestImportAfterEvent(t *testing.T) {
	r := newForeign(t)
	r.write()
	r.addKey("mine")
	old := newRepository(storage.NewFolder(r.dir), at(start))
	e, err := old.Propose(t.Context(), ProposeOptions{Roles: map[string]RoleEdit{
		Root: {Add: []crypto.PublicKey{r.private["mine"].Public()}, Threshold: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, others := range [][]string{{"root-b", "mine"}, {"root-a", "mine"}, {"root-a", "root-b"}} {
		if _, err := e.Sign(t.Context(), r.without(others...)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := old.PublishEvent(t.Context(), e, r.keys); err != nil {
		t.Fatal(err)
	}
	opts, _ := importOptions(t, r.without("root-a", "root-b"))
	to := storage.NewFolder(t.TempDir())
	if _, err := Import(t.Context(), r.store(), to, opts); err != nil {
		t.Fatal(err)
	}
	(&follower{t: t, root: r.read("1.root.json"), cache: t.TempDir()}).mustRead(to, r.files)
}
