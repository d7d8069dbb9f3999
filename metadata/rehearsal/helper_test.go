package rehearsal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/rehearsal"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// repo is a repository in a folder, with its keys and a clock that a test sets.
type repo struct {
	t     testing.TB
	dir   string
	now   time.Time
	keys  *repository.KeyDir
	open  *repository.Repository
	tried int    // counts rehearsals
	hide  string // files that rehearsals are not shown, a pattern
	fail  string // files that rehearsals cannot read, a pattern
}

// newRepo makes a repository every publication of which is rehearsed.
func newRepo(t testing.TB) *repo {
	t.Helper()
	r := &repo{t: t, dir: t.TempDir(), now: start}
	keys := t.TempDir()
	roles, err := repository.MakeKeys(keys, repository.KeyPlan{Type: repository.Ed25519, RootKeys: 1, RootThreshold: 1}, nil)
	must(t, err)
	must(t, repository.FinishKeys(keys))
	r.keys, err = repository.OpenKeys([]string{keys}, nil)
	must(t, err)
	r.open, err = repository.Create(t.Context(), storage.NewFolder(r.dir), repository.CreateOptions{
		Options: r.options(), Roles: roles, Keys: r.keys,
	})
	must(t, err)
	return r
}

func (r *repo) options() repository.Options {
	now := func() time.Time { return r.now }
	return repository.Options{
		Now: now,
		Rehearse: func(ctx context.Context, steps []storage.Reader, past []repository.Past) error {
			r.tried++
			for i, step := range steps {
				steps[i] = &failing{&hiding{step, r.hide}, r.fail}
			}
			return rehearsal.New(rehearsal.Options{Now: now})(ctx, steps, past)
		},
	}
}

// hiding is a store without the files that match.
type hiding struct {
	storage.Reader
	pattern string
}

func (h *hiding) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	if ok, _ := path.Match(h.pattern, name); ok {
		return nil, storage.Info{}, fs.ErrNotExist
	}
	return h.Reader.Open(ctx, name)
}

func (h *hiding) Stat(ctx context.Context, name string) (storage.Info, error) {
	if ok, _ := path.Match(h.pattern, name); ok {
		return storage.Info{}, fs.ErrNotExist
	}
	return h.Reader.Stat(ctx, name)
}

func (r *repo) store() *storage.Folder { return storage.NewFolder(r.dir) }

// publish publishes a release an hour later.
func (r *repo) publish(version, channel string) error {
	r.t.Helper()
	r.now = r.now.Add(time.Hour)
	dir := r.t.TempDir()
	opts := repository.PublishOptions{
		Version: version, Arch: "amd64", Channel: channel, Keys: r.keys,
		Kernel: filepath.Join(dir, "kernel"), Initramfs: filepath.Join(dir, "initramfs"),
	}
	must(r.t, os.WriteFile(opts.Kernel, []byte("kernel "+version), 0o600))
	must(r.t, os.WriteFile(opts.Initramfs, []byte("initramfs "+version), 0o600))
	_, err := r.open.Publish(r.t.Context(), opts)
	return err
}

// publishAll publishes releases to stable.
func (r *repo) publishAll(versions ...string) {
	r.t.Helper()
	for _, v := range versions {
		must(r.t, r.publish(v, "stable"))
	}
}

// history returns the past states, after the present one.
func (r *repo) history() []repository.Past {
	r.t.Helper()
	timestamp, err := repository.ReadTimestamp(r.t.Context(), r.store())
	must(r.t, err)
	roots, err := repository.ReadRoots(r.t.Context(), r.store())
	must(r.t, err)
	past, err := repository.History(r.t.Context(), r.store(), 4)
	must(r.t, err)
	now := repository.Past{Root: int64(len(roots)), Timestamp: timestamp, Until: r.now}
	return append([]repository.Past{now}, past...)
}

// rehearse tries steps that a test has made.
func (r *repo) rehearse(steps ...storage.Reader) error {
	r.t.Helper()
	return rehearsal.New(rehearsal.Options{Now: func() time.Time { return r.now }})(r.t.Context(), steps, r.history())
}

// overlay is a store with files on top, or with files hidden (nil).
type overlay struct {
	storage.Reader
	files map[string][]byte
}

func (r *repo) overlay() *overlay { return &overlay{r.store(), make(map[string][]byte)} }

// then returns the overlay with what other puts on top.
func (o *overlay) then(other *overlay) *overlay { return &overlay{o, other.files} }

func (o *overlay) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	data, ok := o.files[name]
	if !ok {
		return o.Reader.Open(ctx, name)
	}
	if data == nil {
		return nil, storage.Info{}, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data)), storage.Info{Name: name, Size: int64(len(data))}, nil
}

func (o *overlay) Stat(ctx context.Context, name string) (storage.Info, error) {
	if data, ok := o.files[name]; ok && data == nil {
		return storage.Info{}, fs.ErrNotExist
	} else if ok {
		return storage.Info{Name: name, Size: int64(len(data))}, nil
	}
	return o.Reader.Stat(ctx, name)
}

// published reads a role's metadata.
func published[T tuf.Roles](r *repo, name string) *tuf.Metadata[T] {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "metadata", name))
	must(r.t, err)
	md, err := new(tuf.Metadata[T]).FromBytes(data)
	must(r.t, err)
	return md
}

// sign returns a role's metadata signed anew with the key of that name.
func sign[T tuf.Roles](r *repo, md *tuf.Metadata[T], key string) []byte {
	r.t.Helper()
	md.ClearSignatures()
	for _, file := range r.keys.Files() {
		if strings.TrimSuffix(filepath.Base(file.Path), ".key") != key {
			continue
		}
		signer, err := r.keys.Signer(r.t.Context(), file.ID)
		must(r.t, err)
		_, err = md.Sign(signer)
		must(r.t, err)
	}
	if len(md.Signatures) == 0 {
		r.t.Fatalf("no key %s", key)
	}
	data, err := md.ToBytes(true)
	must(r.t, err)
	return data
}

// next returns what follows on the published state: a snapshot and a timestamp
// that are right, but for what the functions change.
func (r *repo) next(snapshot func(*tuf.SnapshotType), timestamp func(*tuf.TimestampType)) *overlay {
	r.t.Helper()
	o := r.overlay()
	ts := published[tuf.TimestampType](r, "timestamp.json")
	named := ts.Signed.Meta["snapshot.json"]
	snap := published[tuf.SnapshotType](r, fmt.Sprintf("%d.snapshot.json", named.Version))
	snap.Signed.Version++
	if snapshot != nil {
		snapshot(&snap.Signed)
	}
	data := sign(r, snap, "snapshot")
	sum := sha256.Sum256(data)
	o.files[fmt.Sprintf("metadata/%d.snapshot.json", snap.Signed.Version)] = data
	ts.Signed.Meta["snapshot.json"] = &tuf.MetaFiles{
		Version: snap.Signed.Version, Length: int64(len(data)), Hashes: tuf.Hashes{"sha256": sum[:]},
	}
	ts.Signed.Version++
	if timestamp != nil {
		timestamp(&ts.Signed)
	}
	o.files["metadata/timestamp.json"] = sign(r, ts, "timestamp")
	return o
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantRefusal checks that a rehearsal stopped a publication, and what it says.
func wantRefusal(t *testing.T, err error, words ...string) {
	t.Helper()
	var refusal *rehearsal.RefusalError
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v, want a refusal", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}
