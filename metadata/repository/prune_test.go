package repository

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tufboot/metadata"
)

// prune prunes at the store's time.
func prune(t *testing.T, r *Repository, opts PruneOptions) *Pruned {
	t.Helper()
	result, err := r.Prune(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// versionsOf returns the versions of the releases that are published, or whose
// kernel is there.
func versionsOf(t *testing.T, r *Repository, s *memStore) (listed, there string) {
	t.Helper()
	releases, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var versions []string
	for _, release := range releases {
		versions = append(versions, release.Version)
	}
	var files []string
	for _, name := range s.names("targets/releases/") {
		if strings.HasSuffix(name, ".vmlinuz") {
			files = append(files, strings.Split(name, "/")[2])
		}
	}
	return strings.Join(versions, " "), strings.Join(files, " ")
}

// TestPrune follows a repository through its releases.
func TestPrune(t *testing.T) {
	r, s, keys := memRepo(t)
	for i := 1; i <= 6; i++ {
		memPublish(t, r, keys, fmt.Sprint(i))
	}
	opts := PruneOptions{Keep: 2, Grace: DefaultGrace, Keys: keys}
	if result := prune(t, r, opts); len(result.Releases) > 0 || len(result.Files) > 0 {
		t.Errorf("of what was published just now: %+v", result)
	}
	s.now = s.now.Add(DefaultGrace + time.Hour)
	n := newNode(t, s, s.now)
	n.sees("6")
	files := len(s.files)
	result := prune(t, r, opts)
	if len(result.Releases) != 3 || result.Releases[0].Version != "1" || result.Releases[0].Bytes == 0 {
		t.Errorf("released: %+v", result.Releases)
	}
	if listed, there := versionsOf(t, r, s); listed != "4 5 6" || there != "1 2 3 4 5 6" {
		t.Errorf("listed %s, there are %s", listed, there)
	}
	// Clients may still hold the metadata with the others.
	for _, f := range result.Files {
		if strings.Contains(f.Name, "releases") && strings.HasPrefix(f.Name, "targets") {
			t.Errorf("%s was removed within the grace period", f.Name)
		}
	}
	n.sees("6")

	s.now = s.now.Add(DefaultGrace + time.Hour)
	if _, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true}); err != nil {
		t.Fatal(err)
	}
	result = prune(t, r, opts)
	if listed, there := versionsOf(t, r, s); listed != "4 5 6" || there != "4 5 6" {
		t.Errorf("listed %s, there are %s", listed, there)
	}
	var sum int64
	for _, f := range result.Files {
		sum += f.Bytes
		if _, ok := s.files[f.Name]; ok {
			t.Errorf("%s is there", f.Name)
		}
	}
	if sum != result.Bytes || sum == 0 || len(s.files) >= files {
		t.Errorf("freed %d bytes, and the sum is %d", result.Bytes, sum)
	}
	n.now = s.now
	n.sees("6")
	newNode(t, s, s.now).sees("6")
	if _, err := Verify(t.Context(), s, VerifyOptions{Options: at(s.now)}); err != nil {
		t.Error(err)
	}
	memPublish(t, r, keys, "7")
	n.sees("7")
	if result := prune(t, r, opts); len(result.Releases) != 1 || result.Releases[0].Version != "4" {
		t.Errorf("got %+v", result.Releases)
	}
}

// TestPruneKeeps has releases that are needed in different ways.
func TestPruneKeeps(t *testing.T) {
	r, s, keys := memRepo(t)
	add := func(version, arch, channel string, p Pointing) {
		t.Helper()
		opts := release(t, keys, version, version+arch)
		opts.Arch, opts.Channel, opts.Pointing = arch, channel, p
		if _, err := r.Publish(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range []string{"1", "2", "3", "4"} {
		add(version, "amd64", "stable", Pointing{})
	}
	add("5", "amd64", "stable", Pointing{Minimum: "4"}) // 4 becomes a step
	add("6", "amd64", "stable", Pointing{Minimum: "4"})
	add("7", "amd64", "stable", Pointing{Minimum: "4"})
	add("2", "arm64", "stable", Pointing{})
	add("3", "arm64", "stable", Pointing{})
	add("7", "arm64", "beta", Pointing{})
	add("9", "amd64", "", Pointing{}) // was never in a channel
	if _, err := r.Withdraw(t.Context(), WithdrawOptions{Version: "7", Channel: "stable", Arch: "amd64", Keys: keys}); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(8 * day)
	add("8", "amd64", "", Pointing{}) // is new
	for _, test := range []struct {
		keep int
		want string
	}{
		// Of amd64: current 6, before it 7 (withdrawn), 5, 4, 3, ...; steps 4 and 5.
		{4, "1/amd64 7/amd64 9/amd64"},
		{3, "1/amd64 2/amd64 7/amd64 9/amd64"},
		{1, "1/amd64 2/amd64 3/amd64 7/amd64 9/amd64"},
		{0, "1/amd64 2/amd64 2/arm64 3/amd64 7/amd64 9/amd64"},
	} {
		result := prune(t, r, PruneOptions{Keep: test.keep, Grace: DefaultGrace, DryRun: true})
		var got []string
		for _, p := range result.Releases {
			got = append(got, p.Version+"/"+p.Arch)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("keep %d: %q would go, not %s", test.keep, got, test.want)
		}
	}
	prune(t, r, PruneOptions{Grace: DefaultGrace, Keys: keys})
	if listed, _ := versionsOf(t, r, s); listed != "3 4 5 6 7 8" {
		t.Errorf("listed %s", listed)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		if _, err := newNode(t, s, s.now).client().Resolve(t.Context(), "stable", arch); err == nil {
			t.Error("resolved without a refresh")
		}
	}
	newNode(t, s, s.now).sees("6")
}

// TestPruneForgetful has a channel file that was written by another tool: it
// does not say what it pointed to.
func TestPruneForgetful(t *testing.T) {
	r, s, keys := memRepo(t)
	for _, version := range []string{"1.9", "1.10", "2", "1.8"} {
		opts := release(t, keys, version, version)
		opts.Channel = ""
		if _, err := r.Publish(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	opts := release(t, keys, "1.11", "1.11")
	if _, err := r.Publish(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(8 * day)
	result := prune(t, r, PruneOptions{Keep: 2, Keys: keys, Grace: DefaultGrace})
	if listed, _ := versionsOf(t, r, s); listed != "1.9 1.10 1.11" {
		t.Errorf("listed %s, %+v", listed, result.Releases)
	}
}

// TestPruneSharedFile has a release that names a file in another one's folder.
func TestPruneSharedFile(t *testing.T) {
	r, s, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := e.ReadTarget(t.Context(), metadata.ReleaseTarget("1", "amd64", metadata.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	rel, err := metadata.ParseRelease(data)
	if err != nil {
		t.Fatal(err)
	}
	rel.Version, rel.Cmdline = "2", "quiet"
	if data, err = rel.Encode(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.AddBytes(t.Context(), metadata.ReleaseTarget("2", "amd64", metadata.ManifestFile), data); err != nil {
		t.Fatal(err)
	}
	channel, err := e.channel(t.Context(), "stable")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := e.ref(t.Context(), "2", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.point(t.Context(), channel, "amd64", ref, Pointing{}); err != nil {
		t.Fatal(err)
	}
	if err := e.writeChannel(t.Context(), channel); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	e.Close()
	for range 3 {
		s.now = s.now.Add(8 * day)
		if _, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true}); err != nil {
			t.Fatal(err)
		}
		prune(t, r, PruneOptions{Grace: DefaultGrace, Keys: keys})
	}
	if listed, _ := versionsOf(t, r, s); listed != "2" {
		t.Errorf("listed %s", listed)
	}
	newNode(t, s, s.now).sees("2")
}

// TestPruneDryRun says beforehand, to the file, what is done then, at every
// point of a history.
func TestPruneDryRun(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, 5 * day, DefaultGrace} {
		t.Run(grace.String(), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(grace)))
			r, s, keys := memRepo(t)
			freed := 0
			for i := 1; i <= 16; i++ {
				s.now = s.now.Add(time.Duration(random.IntN(72)) * time.Hour)
				if random.IntN(3) == 0 {
					keys = rotate(t, r, keys, true, Timestamp, Snapshot)
				}
				memPublish(t, r, keys, fmt.Sprint(i))
				if random.IntN(2) == 0 {
					continue
				}
				s.now = s.now.Add(time.Duration(random.IntN(400)) * time.Hour)
				if _, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys}); err != nil {
					t.Fatal(err)
				}
				opts := PruneOptions{Keep: random.IntN(4), Grace: grace, Keys: keys, FilesOnly: random.IntN(4) == 0}
				before := maps.Clone(s.files)
				dry := opts
				dry.DryRun, dry.Keys = true, nil
				planned := prune(t, r, dry)
				if !slices.Equal(slices.Sorted(maps.Keys(before)), s.names("")) {
					t.Fatal("the dry run changed something")
				}
				done := prune(t, r, opts)
				if fmt.Sprint(planned.Files, planned.Releases, planned.Bytes) != fmt.Sprint(done.Files, done.Releases, done.Bytes) {
					t.Fatalf("round %d: planned %v %v\ndone %v %v", i, planned.Releases, planned.Files, done.Releases, done.Files)
				}
				var gone []string
				for _, name := range slices.Sorted(maps.Keys(before)) {
					if _, ok := s.files[name]; !ok {
						gone = append(gone, name)
					}
				}
				var said []string
				for _, f := range done.Files {
					said = append(said, f.Name)
				}
				slices.Sort(said)
				if !slices.Equal(said, gone) {
					t.Fatalf("round %d: gone are %q, and it says %q", i, gone, said)
				}
				freed += len(gone)
				newNode(t, s, s.now).sees(fmt.Sprint(i))
				if _, err := Verify(t.Context(), s, VerifyOptions{Options: at(s.now)}); err != nil {
					t.Fatal(err)
				}
			}
			if freed == 0 {
				t.Error("nothing was ever removed")
			}
			for i := int64(1); i <= 3; i++ {
				if _, ok := s.files[versionedFile(Root, i)]; !ok {
					t.Errorf("root version %d is gone", i)
				}
			}
		})
	}
}
