package repository

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// warnings returns the codes that the status of a folder shows.
func warnings(t *testing.T, dir string) []string {
	t.Helper()
	s, err := ReadStatus(t.Context(), storage.NewFolder(dir), StatusOptions{Options: at(start)})
	if err != nil {
		t.Fatal(err)
	}
	codes := []string{}
	for _, w := range s.Warnings {
		codes = append(codes, strings.TrimSuffix(w.Code+" "+w.Role, " root"))
	}
	return codes
}

func TestWarnings(t *testing.T) {
	plan := KeyPlan{Type: Ed25519, RootKeys: 3, RootThreshold: 2}
	safe := func() Policy { return DefaultPolicy() }
	for _, c := range []struct {
		name   string
		plan   KeyPlan
		policy Policy
		roles  func(map[string]RoleKeys)
		want   []string
	}{
		{"as it should be", plan, safe(), nil, nil},
		{"one root key", KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1}, safe(), nil, []string{WarnRootThreshold, WarnRootKeys}},
		{"no spare root key", KeyPlan{Type: Ed25519, RootKeys: 2, RootThreshold: 2}, safe(), nil, []string{WarnRootKeys}},
		{"targets with the timestamp's key", plan, safe(), func(r map[string]RoleKeys) { r[Targets] = r[Timestamp] }, []string{WarnOnlineKey + " targets"}},
		{"root with the publisher's key", plan, safe(), func(r map[string]RoleKeys) {
			keys := append(slices.Clone(r[Root].Keys), r[Releases].Keys...)
			r[Root] = RoleKeys{Keys: keys, Threshold: 2}
		}, []string{WarnOnlineKey}},
		{"short windows", plan, Policy{
			Root:      {Expiry: 365 * day, Window: 6 * day},
			Timestamp: {Expiry: 2 * day, Window: 23 * time.Hour},
		}, nil, []string{WarnWindow, WarnWindow + " timestamp"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			roles, keys, _ := fixedKeys(t, c.plan)
			if c.roles != nil {
				c.roles(roles)
			}
			dir := t.TempDir()
			if _, err := Create(t.Context(), storage.NewFolder(dir), CreateOptions{Options: at(start), Roles: roles, Keys: keys, Policy: c.policy}); err != nil {
				t.Fatal(err)
			}
			if got := warnings(t, dir); !slices.Equal(got, append([]string{}, c.want...)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestHistoryWarnings looks at a repository whose past is not what it should be.
func TestHistoryWarnings(t *testing.T) {
	roles, keys, _ := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 3, RootThreshold: 2})
	dir := t.TempDir()
	r, err := Create(t.Context(), storage.NewFolder(dir), CreateOptions{Options: at(start), Roles: roles, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, r, keys, "1")
	old, err := os.ReadFile(filepath.Join(dir, timestampFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"2", "3", "4", "5"} {
		publish(t, r, keys, v)
	}
	want := func(codes ...string) {
		t.Helper()
		if got := warnings(t, dir); !slices.Equal(got, append([]string{}, codes...)) {
			t.Errorf("got %q, want %q", got, codes)
		}
	}
	want()
	for _, n := range []string{"5", "4", "3"} {
		if err := os.Remove(filepath.Join(dir, historyDir, n+".json")); err != nil {
			t.Fatal(err)
		}
	}
	want(WarnHistoryGap + " timestamp")
	writeFile(t, filepath.Join(dir, timestampFile), string(old))
	want(WarnHistoryNewer + " timestamp")
	if err := os.RemoveAll(filepath.Join(dir, storage.WorkDir)); err != nil {
		t.Fatal(err)
	}
	want(WarnUnnamed+" snapshot", WarnHistoryGap+" timestamp")
}

// during is a store in which something happens while timestamp.json is read.
type during struct {
	*storage.Folder
	do func()
}

func (d *during) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	f, info, err := d.Folder.Open(ctx, name)
	if name == timestampFile {
		d.do()
	}
	return f, info, err
}

// TestStatusMeanwhile: what is published while status reads does not make what it
// has read an older copy.
func TestStatusMeanwhile(t *testing.T) {
	r, keys := newRepo(t)
	from := &during{storage.NewFolder(r.Place()), func() { publish(t, r, keys, "1") }}
	s, err := ReadStatus(t.Context(), from, StatusOptions{Options: at(start)})
	if err != nil || s.Older != nil || s.State != StateOK {
		t.Errorf("status %+v, error %v", s, err)
	}
}

// TestDuplicateKeyWarning: the same key under two ids, as other tools can write
// it, is one key.
func TestDuplicateKeyWarning(t *testing.T) {
	r, _ := newRepo(t)
	st, err := load(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	root := &st.root.Signed
	id := root.Roles[Timestamp].KeyIDs[0]
	root.Keys["another"] = root.Keys[id]
	root.Roles[Timestamp].KeyIDs = append(root.Roles[Timestamp].KeyIDs, "another")
	s := &Status{}
	if err := s.addRoles(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	root.Roles[Snapshot].Threshold = 2
	if err := s.addRoles(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	s.warn(st)
	for _, code := range []string{WarnDuplicateKey, WarnUnreachable} {
		if !slices.ContainsFunc(s.Warnings, func(w Warning) bool { return w.Code == code }) {
			t.Errorf("no warning %s: %+v", code, s.Warnings)
		}
	}
}

func TestJudge(t *testing.T) {
	rs := RoleStatus{Due: start.Add(10 * day), Expires: start.Add(14 * day)}
	for _, c := range []struct {
		after, within time.Duration
		want          string
	}{
		{0, 0, StateOK}, {10*day - time.Second, 0, StateOK}, {10 * day, 0, StateDue}, {14 * day, 0, StateDue},
		{14*day + time.Second, 0, StateExpired}, {0, 13 * day, StateOK}, {0, 14 * day, StateDue}, {4 * day, 10 * day, StateDue},
		{10 * day, time.Hour, StateDue},
	} {
		if rs.judge(start.Add(c.after), c.within); rs.State != c.want {
			t.Errorf("after %s, within %s: %s, want %s", c.after, c.within, rs.State, c.want)
		}
	}
}

// counting is a store that counts what is opened.
type counting struct {
	*storage.Folder
	opened []string
}

func (c *counting) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	c.opened = append(c.opened, name)
	return c.Folder.Open(ctx, name)
}

// addOld adds releases to the metadata, whose files are not there.
func addOld(t *testing.T, r *Repository, keys Signers, releases int) {
	t.Helper()
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for i := range releases {
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			if _, err := e.set(t.Context(), metadata.ReleaseTarget(fmt.Sprint("old-", i), "amd64", file), strings.Repeat("ab", 32), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := e.Commit(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
}

// TestStatusCost: status opens as many files in a repository with 16 bins as in
// one with 256.
func TestStatusCost(t *testing.T) {
	opened := func(releases int) int {
		r, keys := newRepo(t)
		publish(t, r, keys, "1")
		addOld(t, r, keys, releases)
		from := &counting{Folder: storage.NewFolder(r.Place())}
		s, err := ReadStatus(t.Context(), from, StatusOptions{Options: at(start)})
		if err != nil {
			t.Fatal(err)
		}
		if bins := s.Roles[len(s.Roles)-1].Bins; bins < 16 {
			t.Errorf("%d bins in a repository with %d releases", bins, releases)
		}
		return len(from.opened)
	}
	if few, many := opened(100), opened(1100); few != many {
		t.Errorf("it opens %d files with 100 releases, %d with 1100", few, many)
	}
}

// TestReadChannels finds channels in every role that can hold them, and only
// there.
func TestReadChannels(t *testing.T) {
	for _, c := range []struct {
		paths []string
		want  bool
	}{
		{[]string{"channels/*.json"}, true}, {[]string{"channels/beta.json"}, true}, {[]string{"*/*"}, true}, {[]string{"c*/*"}, true},
		{nil, true}, {[]string{"releases/*/*/*"}, false}, {[]string{"*"}, false}, {[]string{"releases/*"}, false}, {[]string{"channels/*/*"}, false},
		{[]string{"releases/*", "channels/*"}, true},
	} {
		if got := mayHoldChannels(tuf.DelegatedRole{Paths: c.paths}); got != c.want {
			t.Errorf("%q: %v", c.paths, got)
		}
	}
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	channels, err := ReadChannels(t.Context(), r.store)
	if err != nil || len(channels) != 1 || channels[0].Role != Channels || channels[0].Channel.Releases["amd64"].Version != "1" {
		t.Fatalf("%+v, %v", channels, err)
	}
	file := targetFile(metadata.ChannelTarget("stable"), mustSum(t, r, metadata.ChannelTarget("stable")))
	writeFile(t, filepath.Join(r.Place(), file), "{}")
	channels, err = ReadChannels(t.Context(), r.store)
	if err != nil || channels[0].Err == nil || channels[0].Channel != nil {
		t.Errorf("%+v, %v", channels, err)
	}
	if got := warnings(t, r.Place()); !slices.Contains(got, WarnChannel+" stable") {
		t.Errorf("got %q", got)
	}
}

func mustSum(t *testing.T, r *Repository, target string) string {
	t.Helper()
	st, err := load(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	a, ok, err := st.target(t.Context(), target)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return a.SHA256
}
