package client_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/client"
)

// follower is a node that runs a release, and a server that counts what it asks.
type follower struct {
	*repo
	*server
	opts client.Options
	have metadata.ID
}

// follow makes a node that has followed channel stable and installed its release.
func follow(t testing.TB) *follower {
	t.Helper()
	r := newRepo(t, "repo")
	f := &follower{repo: r, server: serve(t, r)}
	f.opts = options(t, r, f.URL)
	f.have = f.latest(t).ID
	f.latest(t)
	f.taken()
	return f
}

// latest is a check by a process of its own.
func (f *follower) latest(t testing.TB) *client.Resolved {
	t.Helper()
	got, err := open(t, f.opts).Latest(t.Context(), "stable", "amd64", "v1", f.have)
	must(t, err)
	return got
}

// readAll reports whether a check read snapshot and targets, by spoiling what is
// kept of them: who reads that asks the server for it.
func (f *follower) readAll(t testing.TB) bool {
	t.Helper()
	for _, name := range []string{"snapshot.json", "targets.json"} {
		must(t, os.WriteFile(filepath.Join(f.opts.Dir, name), []byte("spoiled"), 0o600))
	}
	f.taken()
	f.latest(t)
	return slices.ContainsFunc(f.taken(), func(path string) bool { return strings.HasSuffix(path, "targets.json") })
}

func TestNothingNewReadsOnlyWhatChanges(t *testing.T) {
	f := follow(t)
	if f.readAll(t) {
		t.Error("snapshot and targets were read though nothing is new")
	}
	f.latest(t)
	if got := f.taken(); len(got) != 2 {
		t.Errorf("requests %q, want root and timestamp only", got)
	}
	want, err := refreshed(t, f.opts).Resolve(t.Context(), "stable", "amd64")
	must(t, err)
	got := f.latest(t)
	same := func(r *client.Resolved) string {
		data, err := json.Marshal(r)
		must(t, err)
		return string(data)
	}
	if same(got) != same(want) {
		t.Errorf("it is %s, resolved %s", same(got), same(want))
	}
}

func TestLatestReadsAllWhenInDoubt(t *testing.T) {
	forge := func(change func(m map[string]any)) func(*testing.T, *follower) {
		return func(t *testing.T, f *follower) {
			path := filepath.Join(f.opts.Dir, "latest.json")
			data, err := os.ReadFile(path)
			must(t, err)
			m := make(map[string]any)
			must(t, json.Unmarshal(data, &m))
			change(m)
			data, err = json.Marshal(m)
			must(t, err)
			must(t, os.WriteFile(path, data, 0o600))
		}
	}
	for name, change := range map[string]func(*testing.T, *follower){
		"another release is booted": func(_ *testing.T, f *follower) { f.have = metadata.ID(strings.Repeat("0", 64)) },
		"no release is booted":      func(_ *testing.T, f *follower) { f.have = "" },
		"new root":                  func(_ *testing.T, f *follower) { f.rotate(tuf.TARGETS, "targets2"); f.publish() },
		"new root alone":            func(_ *testing.T, f *follower) { f.signRoot() },
		"new snapshot":              func(_ *testing.T, f *follower) { f.publish() },
		"new release":               func(_ *testing.T, f *follower) { f.release("v2", "stable") },
		"nothing remembered": func(t *testing.T, f *follower) {
			must(t, os.Remove(filepath.Join(f.opts.Dir, "latest.json")))
		},
		"nothing of it kept":  func(t *testing.T, f *follower) { must(t, os.RemoveAll(filepath.Join(f.opts.Dir, "content"))) },
		"forged root":         forge(func(m map[string]any) { m["root"] = "" }),
		"forged snapshot":     forge(func(m map[string]any) { m["snapshot"] = "" }),
		"forged channel":      forge(func(m map[string]any) { m["channel"] = "beta" }),
		"forged content":      forge(func(m map[string]any) { m["sha256"] = m["snapshot"] }),
		"content is no hash":  forge(func(m map[string]any) { m["sha256"] = "../timestamp.json" }),
		"expired by its date": forge(func(m map[string]any) { m["expires"] = epoch.Add(-time.Second) }),
	} {
		t.Run(name, func(t *testing.T) {
			f := follow(t)
			change(t, f)
			if !f.readAll(t) {
				t.Error("snapshot and targets were not read")
			}
		})
	}
}

func TestWhatIsRememberedExpires(t *testing.T) {
	f := follow(t)
	f.now = epoch.Add(20 * day)
	f.life[tuf.SNAPSHOT] = 365 * day
	f.publishSnapshot()
	f.life[tuf.TIMESTAMP] = 365 * day
	f.publishTimestamp()
	f.latest(t) // targets.json is the first to expire, 90 days after the epoch
	f.opts.Now = func() time.Time { return epoch.Add(91 * day) }
	_, err := open(t, f.opts).Latest(t.Context(), "stable", "amd64", "v1", f.have)
	wantReason(t, err, client.ReasonExpired)
}

// Whoever can write the folder can make a node believe that nothing is new, as
// long as the snapshot stays. He cannot make it take another release.
func TestForgedMemoryNamesNoRelease(t *testing.T) {
	f := follow(t)
	evil := newRepo(t, "evil")
	evil.release("v66", "stable")
	evilOpts := options(t, evil, fileURL(evil))
	c := open(t, evilOpts)
	_, err := c.Latest(t.Context(), "stable", "amd64", "v1", "")
	must(t, err)
	planted := folder(t, evilOpts.Dir)
	mine := folder(t, f.opts.Dir)
	var forged, real map[string]any
	must(t, json.Unmarshal([]byte(planted["latest.json"]), &forged))
	must(t, json.Unmarshal([]byte(mine["latest.json"]), &real))
	forged["root"], forged["snapshot"] = real["root"], real["snapshot"]
	data, err := json.Marshal(forged)
	must(t, err)
	for name, content := range planted {
		if strings.HasPrefix(name, "content") {
			mine[name] = content
		}
	}
	mine["latest.json"] = string(data)
	restore(t, f.opts.Dir, mine)
	if got := f.latest(t); got.Release.Version != "v1" {
		t.Errorf("the node would install %s", got.Release.Version)
	}
}

func TestDamagedKeptFilesAndLatest(t *testing.T) {
	f := follow(t)
	kept := folder(t, f.opts.Dir)
	for name, data := range kept {
		for _, damage := range []string{"", "null", "{}", data[:len(data)/2], data + data, strings.Repeat("\x00", len(data))} {
			restore(t, f.opts.Dir, kept)
			must(t, os.WriteFile(filepath.Join(f.opts.Dir, name), []byte(damage), 0o600))
			if got := f.latest(t); got.ID != f.have {
				t.Errorf("%s is %q: release %s", name, damage, got.ID)
			}
			must(t, refresh(t, f.opts))
		}
	}
}

func TestNothingIsDownloadedAfterLatest(t *testing.T) {
	f := follow(t)
	c := open(t, f.opts)
	got, err := c.Latest(t.Context(), "stable", "amd64", "v1", f.have)
	must(t, err)
	if _, err := c.ReleaseByVersion(t.Context(), "v1", "amd64"); err == nil {
		t.Errorf("what was not verified was used: %v", got.ID)
	}
	must(t, c.Refresh(t.Context()))
	_, err = c.ReleaseByVersion(t.Context(), "v1", "amd64")
	must(t, err)
}
