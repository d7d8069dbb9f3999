package client_test

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/client"
)

// bins is a repository whose targets are in succinct hash bins (TAP 15) of a
// delegated role called releases; the channels stay in targets.json.
type bins struct {
	*repo
	succinct *tuf.SuccinctRoles
	signer   key
	content  map[string]map[string]*tuf.TargetFiles
}

func newBins(t testing.TB, bits int, prefix string) *bins {
	t.Helper()
	r := newRepo(t, "repo")
	signer := newKey(t, "bins")
	id, err := signer.public.ID()
	must(t, err)
	r.keys["releases"] = []key{signer}
	keys := map[string]*tuf.Key{id: signer.public}
	r.targets.Signed.Delegations = &tuf.Delegations{Keys: keys, Roles: []tuf.DelegatedRole{
		{Name: "releases", KeyIDs: []string{id}, Threshold: 1, Terminating: true, Paths: []string{"releases/*/*/*"}},
	}}
	b := &bins{
		repo: r, signer: signer, content: make(map[string]map[string]*tuf.TargetFiles),
		succinct: &tuf.SuccinctRoles{KeyIDs: []string{id}, Threshold: 1, BitLength: bits, NamePrefix: prefix},
	}
	r.delegate("releases", nil, &tuf.Delegations{Keys: keys, SuccinctRoles: b.succinct})
	for _, bin := range b.succinct.GetRoles() {
		b.content[bin] = make(map[string]*tuf.TargetFiles)
		b.sign(bin)
	}
	b.move()
	return b
}

// binOf returns the bin of a target.
func (b *bins) binOf(target string) string { return b.succinct.GetRolesForTarget(target)[0].Name }

func (b *bins) sign(bin string) {
	b.keys[bin] = []key{b.signer}
	b.delegate(bin, b.content[bin], nil)
}

// move moves what targets.json holds of releases into their bins, and publishes.
func (b *bins) move() (changed []string) {
	b.t.Helper()
	for name, info := range b.targets.Signed.Targets {
		if strings.HasPrefix(name, "releases/") {
			b.content[b.binOf(name)][name] = info
			delete(b.targets.Signed.Targets, name)
			changed = append(changed, b.binOf(name))
		}
	}
	slices.Sort(changed)
	changed = slices.Compact(changed)
	for _, bin := range changed {
		b.sign(bin)
	}
	b.publish()
	return changed
}

// binsIn returns the bins among the paths of files.
func (b *bins) binsIn(paths []string) []string {
	var found []string
	for _, p := range paths {
		if i := strings.Index(p, b.succinct.NamePrefix+"-"); i >= 0 {
			found = append(found, strings.TrimSuffix(path.Base(p[i:]), ".json"))
		}
	}
	slices.Sort(found)
	return found
}

// usedBins returns the bins that hold a release's files.
func (b *bins) usedBins(version string) []string {
	var used []string
	for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
		used = append(used, b.binOf(metadata.ReleaseTarget(version, "amd64", file)))
	}
	slices.Sort(used)
	return slices.Compact(used)
}

// TestHashBins wants a node to fetch the bins that it looks into, and no others.
func TestHashBins(t *testing.T) {
	b := newBins(t, 4, "releases-bin")
	s := serve(t, b.repo)
	opts := options(t, b.repo, s.URL)
	resolve := func(want string) []string {
		t.Helper()
		s.taken()
		resolved, err := refreshed(t, opts).Resolve(t.Context(), "stable", "amd64")
		must(t, err)
		if resolved.Release.Version != want {
			t.Fatalf("release %s, want %s", resolved.Release.Version, want)
		}
		return s.taken()
	}
	if got, want := b.binsIn(resolve("v1")), b.usedBins("v1"); !slices.Equal(got, want) {
		t.Errorf("fetched bins %q, want %q", got, want)
	}
	if got := resolve("v1"); len(got) != 2 {
		t.Errorf("no change, and these were fetched: %q", got)
	}
	_, ref := b.manifest("v2")
	b.point("stable", ref)
	b.move()
	if got, want := b.binsIn(resolve("v2")), b.usedBins("v2"); !slices.Equal(got, want) {
		t.Errorf("fetched bins %q, want %q", got, want)
	}
	kept := b.binsIn(slices.Collect(maps.Keys(folder(t, opts.Dir))))
	want := append(b.usedBins("v1"), b.usedBins("v2")...)
	slices.Sort(want)
	if want = slices.Compact(want); !slices.Equal(kept, want) {
		t.Errorf("kept bins %q, want %q", kept, want)
	}
}

// A target counts only in the bin that its name's hash says.
func TestHashBinsRefusals(t *testing.T) {
	manifest := metadata.ReleaseTarget("v1", "amd64", metadata.ManifestFile)
	for name, test := range map[string]struct {
		spoil  func(b *bins)
		reason string
	}{
		"in another bin": {func(b *bins) {
			right := b.binOf(manifest)
			wrong := b.succinct.GetRoles()[0]
			if wrong == right {
				wrong = b.succinct.GetRoles()[1]
			}
			b.content[wrong][manifest] = b.content[right][manifest]
			delete(b.content[right], manifest)
			b.sign(right)
			b.sign(wrong)
		}, client.ReasonNotFound},
		"signed by a thief": {func(b *bins) {
			b.signer = newKey(t, "thief")
			b.sign(b.binOf(manifest))
		}, client.ReasonWrongRoot},
		"expired": {func(b *bins) {
			b.life[tuf.TARGETS] = -day
			b.sign(b.binOf(manifest))
		}, client.ReasonExpired},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBins(t, 4, "releases-bin")
			test.spoil(b)
			b.publishSnapshot()
			b.publishTimestamp()
			_, err := refreshed(t, options(t, b.repo, fileURL(b.repo))).Resolve(t.Context(), "stable", "amd64")
			wantReason(t, err, test.reason)
		})
	}
	b := newBins(t, 1, "releases-bin")
	b.succinct.NamePrefix = "../releases-bin"
	b.delegate("releases", nil, &tuf.Delegations{Keys: b.targets.Signed.Delegations.Keys, SuccinctRoles: b.succinct})
	b.publishSnapshot()
	b.publishTimestamp()
	_, err := refreshed(t, options(t, b.repo, fileURL(b.repo))).Resolve(t.Context(), "stable", "amd64")
	wantReason(t, err, client.ReasonMalformed)
}

// TestKeptRolesAreBounded looks into more bins than are kept.
func TestKeptRolesAreBounded(t *testing.T) {
	b := newBins(t, 8, "releases-bin")
	const releases = 40
	for n := range releases {
		b.manifest(fmt.Sprintf("v%d", n+2))
	}
	b.move()
	opts := options(t, b.repo, fileURL(b.repo))
	kept := func() int {
		return len(b.binsIn(slices.Collect(maps.Keys(folder(t, opts.Dir)))))
	}
	for n := range releases {
		c := refreshed(t, opts)
		_, err := c.ReleaseByVersion(t.Context(), fmt.Sprintf("v%d", n+2), "amd64")
		must(t, err)
		if kept() > client.MaxKeptRoles {
			t.Fatalf("after %d releases %d bins are kept", n+1, kept())
		}
	}
	if kept() < client.MaxKeptRoles/2 {
		t.Errorf("%d bins are kept", kept())
	}
	// What this run has used stays, whatever its age.
	c := refreshed(t, opts)
	for n := range 8 {
		version := fmt.Sprintf("v%d", n+2)
		_, err := c.ReleaseByVersion(t.Context(), version, "amd64")
		must(t, err)
		for _, bin := range b.usedBins(version) {
			must(t, os.Chtimes(filepath.Join(opts.Dir, "role-"+bin+".json"), epoch, epoch.Add(-1000*day)))
		}
	}
	held := folder(t, opts.Dir)
	for n := range 8 {
		for _, bin := range b.usedBins(fmt.Sprintf("v%d", n+2)) {
			if held["role-"+bin+".json"] == "" {
				t.Errorf("%s was just used and is not kept", bin)
			}
		}
	}
}

// TestGoneRolesAreForgotten removes what is kept of roles that are no longer
// listed, and nothing else.
func TestGoneRolesAreForgotten(t *testing.T) {
	r := delegated(t, nil)
	opts := options(t, r, fileURL(r))
	_, err := refreshed(t, opts).Resolve(t.Context(), "stable", "amd64")
	must(t, err)
	for _, name := range []string{"role-old.json", "role-releases.json.broken", "role-", "roles.json"} {
		must(t, os.WriteFile(filepath.Join(opts.Dir, name), []byte("{}"), 0o600))
	}
	refreshed(t, opts)
	held := folder(t, opts.Dir)
	for _, name := range []string{"role-releases.json", "role-releases.json.broken", "role-", "roles.json", "targets.json"} {
		if held[name] == "" {
			t.Errorf("%s is gone", name)
		}
	}
	if held["role-old.json"] != "" {
		t.Error("a role that is not listed is still kept")
	}
}

// TestResolveFor goes through a step.
func TestResolveFor(t *testing.T) {
	r := newRepo(t, "repo")
	_, step := r.manifest("v2")
	_, current := r.manifest("v3")
	current.Minimum = "v2"
	current.Rollout = &metadata.Rollout{Start: epoch, Waves: []metadata.Wave{{After: 0, Percent: 100}}}
	hint := &metadata.Maintenance{Start: "02:00", Duration: 3600}
	set := func(steps map[string][]metadata.ReleaseRef) client.Options {
		t.Helper()
		ch := &metadata.Channel{
			Schema: metadata.Schema, Name: "stable", Maintenance: hint,
			Releases: map[string]metadata.ReleaseRef{"amd64": current}, Steps: steps,
		}
		data, err := ch.Encode()
		must(t, err)
		r.put(metadata.ChannelTarget("stable"), data)
		r.publish()
		return options(t, r, fileURL(r))
	}
	c := refreshed(t, set(map[string][]metadata.ReleaseRef{"amd64": {step}}))
	for booted, want := range map[string]string{"v1": "v2", "v2": "v3", "v3": "v3", "v9": "v3", "": "v3"} {
		resolved, err := c.ResolveFor(t.Context(), "stable", "amd64", booted)
		must(t, err)
		if resolved.Release.Version != want || resolved.Ref.SHA256 != resolved.ID || resolved.Current.Version != "v3" || resolved.Maintenance.Start != "02:00" {
			t.Errorf("from %q: %+v", booted, resolved)
		}
	}
	c = refreshed(t, set(nil))
	if _, err := c.ResolveFor(t.Context(), "stable", "amd64", "v1"); err == nil || !strings.Contains(err.Error(), "no update path") {
		t.Errorf("without the step: %v", err)
	}
	resolved, err := c.ReleaseByVersion(t.Context(), "v3", "amd64")
	must(t, err)
	if resolved.Current.Version != "" || resolved.Ref.Rollout != nil {
		t.Errorf("by version: %+v", resolved)
	}
}

// A node with a wrong clock takes the time of the repository's last signature
// for what is planned ahead, and never for expiry.
func TestTime(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	want := func(now, want time.Time, sound bool) {
		t.Helper()
		opts.Now = at(now)
		c := refreshed(t, opts)
		if got, ok := c.Time(); !got.Equal(want) || ok != sound {
			t.Errorf("with the clock at %v: %v, %v; want %v, %v", now, got, ok, want, sound)
		}
	}
	opts.ClockFloor = epoch.Add(-30 * day)
	want(epoch.Add(time.Hour), epoch.Add(time.Hour), true)
	want(epoch.Add(30*time.Minute), epoch.Add(time.Hour), true) // set back a little
	want(time.Unix(0, 0), epoch.Add(time.Hour), false)          // the last refresh
	// Later the repository says how long its timestamps live.
	r.now = epoch.Add(3 * day)
	md := r.nextRoot()
	md.Signed.Roles[tuf.TIMESTAMP].UnrecognizedFields = map[string]any{metadata.ExpiryField: int64(r.life[tuf.TIMESTAMP] / time.Second)}
	sign(t, md, r.keys[tuf.ROOT]...)
	r.write(fmt.Sprintf("%d.root.json", md.Signed.Version), encode(t, md))
	r.publish()
	want(time.Unix(0, 0), epoch.Add(3*day), false)
	want(epoch.Add(day), epoch.Add(day), true) // a sound clock decides alone
	trust, err := client.LocalTrust(opts)
	must(t, err)
	if !trust.LastRefresh.Equal(epoch.Add(day)) {
		t.Errorf("the timestamp vouched for itself: last refresh %v", trust.LastRefresh)
	}
	if now, sound := open(t, opts).Time(); !now.Equal(epoch.Add(day)) || !sound {
		t.Errorf("before a refresh: %v, %v", now, sound)
	}
}
