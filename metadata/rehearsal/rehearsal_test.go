package rehearsal_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/client"
	"tufboot/metadata/rehearsal"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// TestPublications lets everyday changes through.
func TestPublications(t *testing.T) {
	r := newRepo(t)
	r.publishAll("1", "2", "3", "4", "5", "6", "7")
	must(t, r.publish("8", "beta"))
	for _, months := range []int{0, 1, 3, 14, 30} { // the last two: long expired
		r.now = start.AddDate(0, months, 0)
		_, err := r.open.Refresh(t.Context(), repository.RefreshOptions{Keys: r.keys})
		must(t, err)
	}
	r.publishAll("9")
	if r.tried < 13 {
		t.Errorf("%d rehearsals", r.tried)
	}
	got, err := rehearsal.Verify(t.Context(), r.store(), rehearsal.VerifyOptions{Options: rehearsal.Options{Now: func() time.Time { return r.now }}})
	must(t, err)
	if len(got.Roots) < 3 || len(got.Past) < 12 || len(got.Incomplete) != 0 || len(got.Channels) != 2 || !got.History {
		t.Errorf("got %+v", got)
	}
}

// TestOldBackup: the folder was restored from an old copy, and the history was
// not.
func TestOldBackup(t *testing.T) {
	r := newRepo(t)
	r.publishAll("1")
	backup := t.TempDir()
	must(t, os.CopyFS(backup, os.DirFS(filepath.Join(r.dir, "metadata"))))
	r.publishAll("2", "3", "4")
	must(t, os.RemoveAll(filepath.Join(r.dir, "metadata")))
	must(t, os.CopyFS(filepath.Join(r.dir, "metadata"), os.DirFS(backup)))

	before := tree(t, filepath.Join(r.dir, "metadata"))
	err := r.publish("5", "stable")
	var refused *repository.RefusedError
	if !errors.As(err, &refused) || refused.Reason != repository.ReasonRegression {
		t.Errorf("got %v", err)
	}
	if !maps.EqualFunc(before, tree(t, filepath.Join(r.dir, "metadata")), bytes.Equal) {
		t.Error("something was published")
	}

	// Where nothing here remembers, it goes out, and nodes are stuck.
	history := filepath.Join(r.dir, ".tufboot", "history")
	kept := tree(t, history)
	must(t, os.RemoveAll(filepath.Join(r.dir, ".tufboot")))
	open, err := repository.Open(t.Context(), r.store(), repository.Options{Now: func() time.Time { return r.now }})
	must(t, err)
	r.open = open
	must(t, r.publish("6", "stable"))
	for name, data := range kept {
		must(t, os.WriteFile(filepath.Join(history, name), data, 0o600))
	}
	_, err = rehearsal.Verify(t.Context(), r.store(), rehearsal.VerifyOptions{Options: rehearsal.Options{Now: func() time.Time { return r.now }}})
	wantRefusal(t, err, "holds timestamp version 4")
}

// tree returns the files of a folder.
func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[name], err = os.ReadFile(path)
		return err
	}))
	return files
}

// TestSteps tries hand-made publications.
func TestSteps(t *testing.T) {
	r := newRepo(t)
	r.publishAll("1", "2")
	must(t, r.publish("3", "beta"))
	must(t, r.rehearse(r.next(nil, nil)))
	for _, c := range []struct {
		name  string
		step  storage.Reader
		words []string
	}{
		{"a snapshot that drops a role", r.next(func(s *tuf.SnapshotType) { delete(s.Meta, "releases.json") }, nil),
			[]string{"a new node with root version 1", "releases.json"}},
		{"a role that goes back", r.next(func(s *tuf.SnapshotType) { s.Meta["channels.json"].Version-- }, nil),
			[]string{"channels.json"}},
		{"a timestamp with the same version and other content", r.next(nil, func(s *tuf.TimestampType) { s.Version-- }),
			[]string{"a node that holds timestamp version 4", "stays at snapshot version 4"}},
		{"a lower timestamp", r.next(nil, func(s *tuf.TimestampType) { s.Version -= 2 }), []string{"must be >= 4"}},
		{"an expired timestamp", r.next(nil, func(s *tuf.TimestampType) { s.Expires = start }), []string{"timestamp.json expired at 2026-01-01T00:00:00Z"}},
		{"an expired snapshot", r.next(func(s *tuf.SnapshotType) { s.Expires = start }, nil), []string{"snapshot.json expired"}},
		{"a snapshot that is not there", r.without("metadata/5.snapshot.json"), []string{"metadata/5.snapshot.json is missing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantRefusal(t, r.rehearse(c.step), c.words...)
		})
	}
}

// TestDroppedRole: new nodes see nothing wrong with a snapshot that does not list
// a role any more that nothing delegates to, and those that were there do.
func TestDroppedRole(t *testing.T) {
	r := newRepo(t)
	const file = "old-role.json"
	with := r.next(func(s *tuf.SnapshotType) { s.Meta[file] = tuf.MetaFile(1) }, nil)
	for name, data := range with.files {
		must(t, os.WriteFile(filepath.Join(r.dir, name), data, 0o600))
	}
	step := r.next(func(s *tuf.SnapshotType) { delete(s.Meta, file) }, nil)
	wantRefusal(t, r.rehearse(step), "a node that holds timestamp version 2", file)
	now := func() time.Time { return r.now }
	must(t, rehearsal.New(rehearsal.Options{Now: now})(t.Context(), []storage.Reader{step}, nil))
}

func (r *repo) without(name string) storage.Reader {
	o := r.next(nil, nil)
	o.files[name] = nil
	return o
}

// TestClockBehind: what this machine signs now is past its time for all others.
func TestClockBehind(t *testing.T) {
	r := newRepo(t)
	r.now = start.AddDate(1, 0, 0)
	_, err := r.open.Refresh(t.Context(), repository.RefreshOptions{Keys: r.keys, All: true})
	must(t, err)
	r.publishAll("1", "2")
	r.now = start
	wantRefusal(t, r.publish("3", "stable"), "this machine's clock says 2026-01-01T01:00:00Z", "was replaced at 2027-01-01T02:00:00Z", "expired at 2026-01-15")
	r.now = start.AddDate(1, 0, 0).Add(-time.Hour) // an hour does not matter
	must(t, r.publish("3", "stable"))
}

// TestChannels: what a channel newly points to must be there; what is lost
// already does not keep the other channels from going on.
func TestChannels(t *testing.T) {
	r := newRepo(t)
	r.publishAll("1")
	for _, file := range []string{"releases/2/amd64/*.vmlinuz", "releases/2/amd64/*.release.json", "channels/*.beta.json"} {
		r.hide = "targets/" + file
		wantRefusal(t, r.publish("2", "beta"), "channel beta", " is missing")
	}
	r.hide = ""
	must(t, r.publish("2", "beta"))
	for _, file := range []string{"releases/2/amd64/*.vmlinuz", "releases/2/amd64/*.release.json", "channels/*.beta.json"} {
		names, err := filepath.Glob(filepath.Join(r.dir, "targets", file))
		must(t, err)
		for _, name := range names {
			must(t, os.Remove(name))
		}
		must(t, r.rehearse(r.next(nil, nil)))
	}
}

// rotated returns the steps of a change of the timestamp key: the new root alone,
// then with a timestamp signed by signer, so many versions after the present one.
func (r *repo) rotated(signer string, versions int64) (root, last *overlay) {
	r.t.Helper()
	md := published[tuf.RootType](r, "1.root.json")
	md.Signed.Version++
	md.Signed.Roles["timestamp"].KeyIDs = md.Signed.Roles["snapshot"].KeyIDs
	root = r.overlay()
	root.files["metadata/2.root.json"] = sign(r, md, "root-1")
	last = r.overlay()
	ts := published[tuf.TimestampType](r, "timestamp.json")
	ts.Signed.Version += versions
	last.files["metadata/timestamp.json"] = sign(r, ts, signer)
	return root, root.then(last)
}

// TestRotation: between the new root and the timestamp that follows, nodes may
// fail once where the old key is gone, and must go on afterwards.
func TestRotation(t *testing.T) {
	r := newRepo(t)
	r.publishAll("1", "2")
	root, last := r.rotated("snapshot", 1)
	must(t, r.rehearse(root, last))
	wantRefusal(t, r.rehearse(root), "under root version 2")
	_, wrong := r.rotated("timestamp", 1)
	wantRefusal(t, r.rehearse(root, wrong), "timestamp version 4 under root version 2")

	// Clients forget what a key signed that is gone. What all hold must not go
	// back all the same.
	_, lower := r.rotated("snapshot", -1)
	wantRefusal(t, r.rehearse(root, lower), "goes back from timestamp version 3 to 2")

	// A root that the old root's keys did not sign.
	md := published[tuf.RootType](r, "1.root.json")
	md.Signed.Version++
	foreign := r.overlay()
	foreign.files["metadata/2.root.json"] = sign(r, md, "targets")
	wantRefusal(t, r.rehearse(foreign, foreign.then(r.next(nil, nil))), "2.root.json")
}

// TestPut: what is put into a node's folder is what a client leaves there.
func TestPut(t *testing.T) {
	r := newRepo(t)
	r.publishAll("1", "2", "3")
	r.now = start.AddDate(1, 0, 0)
	_, err := r.open.Refresh(t.Context(), repository.RefreshOptions{Keys: r.keys})
	must(t, err)
	for i, past := range r.history() {
		if i == 4 { // a file of it is gone
			names, err := filepath.Glob(filepath.Join(r.dir, "metadata", "1.snapshot.json"))
			if err != nil || len(names) != 1 {
				t.Fatal(names, err)
			}
			must(t, os.Remove(names[0]))
		}
		byClient, byUs := t.TempDir(), t.TempDir()
		complete, err := rehearsal.Refreshed(t.Context(), byClient, r.store(), past)
		must(t, err)
		also, err := rehearsal.Put(t.Context(), byUs, r.store(), past)
		must(t, err)
		if complete != also || complete != (i < 4) {
			t.Errorf("state %d: complete %v, %v", i, complete, also)
		}
		must(t, os.RemoveAll(filepath.Join(byClient, "clock.json"))) // of no use to a clock that goes on
		want, got := tree(t, byClient), tree(t, byUs)
		if !maps.EqualFunc(want, got, bytes.Equal) {
			t.Errorf("state %d: the client keeps %d files, put makes %d", i, len(want), len(got))
		}
	}
}

// TestStoreFails: a store that fails is no verdict on the repository.
func TestStoreFails(t *testing.T) {
	r := newRepo(t)
	r.publishAll("1")
	for _, pattern := range []string{"metadata/timestamp.json", "metadata/*.snapshot.json", "metadata/*.releases.json", "targets/channels/*", "targets/releases/*/*/*.vmlinuz"} {
		failing := &failing{r.store(), pattern}
		err := r.rehearse(failing)
		var refusal *rehearsal.RefusalError
		var untried *repository.UntriedError
		var network *client.NetworkError // which the client would try again, and again
		if !errors.Is(err, errStore) || errors.As(err, &refusal) || !errors.As(err, &untried) || errors.As(err, &network) {
			t.Errorf("%s: got %v", pattern, err)
		}
	}
}

// TestStoreFailsWhilePublishing is told as what it is.
func TestStoreFailsWhilePublishing(t *testing.T) {
	r := newRepo(t)
	r.publishAll("1")
	r.fail = "metadata/*.snapshot.json"
	err := r.publish("2", "stable")
	var refused *repository.RefusedError
	if !errors.Is(err, errStore) || errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}

var errStore = errors.New("403 Forbidden")

// failing is a store that cannot open or look at the files that match.
type failing struct {
	storage.Reader
	pattern string
}

func (f *failing) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	if ok, _ := path.Match(f.pattern, name); ok {
		return nil, storage.Info{}, errStore
	}
	return f.Reader.Open(ctx, name)
}

func (f *failing) Stat(ctx context.Context, name string) (storage.Info, error) {
	if ok, _ := path.Match(f.pattern, name); ok {
		return storage.Info{}, errStore
	}
	return f.Reader.Stat(ctx, name)
}

// TestExpiredBefore: while root has expired, and its keys are not at hand, the
// machine that refreshes goes on. Nothing else is forgiven meanwhile.
func TestExpiredBefore(t *testing.T) {
	r := newRepo(t)
	r.publishAll("1", "2")
	r.now = start.AddDate(1, 1, 0)
	expired := func(s *tuf.TimestampType) { s.Expires = r.now.AddDate(0, 0, 14) }
	snapshot := func(s *tuf.SnapshotType) { s.Expires = r.now.AddDate(0, 1, 0) }
	must(t, r.rehearse(r.next(snapshot, expired)))
	lower := r.next(snapshot, func(s *tuf.TimestampType) { expired(s); s.Version -= 2 })
	wantRefusal(t, r.rehearse(lower), "holds timestamp version 3", "must be >= 3")
	wantRefusal(t, r.rehearse(r.next(func(s *tuf.SnapshotType) { snapshot(s); delete(s.Meta, "releases.json") }, expired)), "releases.json")
}
