package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"tufboot/internal/atomicfile"
	"tufboot/metadata"
	"tufboot/metadata/storage"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(t time.Time) Options { return Options{Now: func() time.Time { return t }} }

// fixedKeys makes plaintext keys in a folder and opens them.
func fixedKeys(t *testing.T, plan KeyPlan) (map[string]RoleKeys, *KeyDir, string) {
	t.Helper()
	dir := t.TempDir()
	roles, err := MakeKeys(dir, plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := FinishKeys(dir); err != nil {
		t.Fatal(err)
	}
	keys, err := OpenKeys([]string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return roles, keys, dir
}

// newRepo makes a repository with one ed25519 key for each role.
func newRepo(t *testing.T) (*Repository, *KeyDir) {
	t.Helper()
	roles, keys, _ := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
	r, err := Create(t.Context(), storage.NewFolder(t.TempDir()), CreateOptions{Options: at(start), Roles: roles, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return r, keys
}

// release returns options to publish a release with made-up content.
func release(t *testing.T, keys Signers, version, content string) PublishOptions {
	t.Helper()
	dir := t.TempDir()
	opts := PublishOptions{
		Version: version, Arch: "amd64", Channel: "stable", Keys: keys,
		Kernel: filepath.Join(dir, "kernel"), Initramfs: filepath.Join(dir, "initramfs"),
	}
	writeFile(t, opts.Kernel, "kernel "+content)
	writeFile(t, opts.Initramfs, "initramfs "+content)
	return opts
}

func publish(t *testing.T, r *Repository, keys Signers, version string) *Published {
	t.Helper()
	p, err := r.Publish(t.Context(), release(t, keys, version, version))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	var coded interface{ ReasonCode() string }
	if !errors.As(err, &coded) {
		t.Fatalf("got error %v, want one with reason %q", err, reason)
	}
	if coded.ReasonCode() != reason {
		t.Fatalf("got reason %q (%v), want %q", coded.ReasonCode(), err, reason)
	}
}

// reader is a real go-tuf client that keeps its cache between refreshes.
type reader struct {
	t     *testing.T
	dir   string // the repository
	root  []byte
	cache string
	now   time.Time
}

func newReader(t *testing.T, dir string) *reader {
	t.Helper()
	root, err := os.ReadFile(filepath.Join(dir, "metadata", "1.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	return &reader{t: t, dir: dir, root: root, cache: t.TempDir(), now: start}
}

// channel refreshes and returns the version that stable points to, "" if none.
// It finds every target as go-tuf's updater does.
func (r *reader) channel() (string, error) {
	ctx, from := r.t.Context(), storage.NewFolder(r.dir)
	cfg, err := config.New("file:///metadata", r.root)
	if err != nil {
		return "", err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = r.cache, r.cache
	cfg.Fetcher = readerFetcher{ctx, from}
	client, err := updater.New(cfg)
	if err != nil {
		return "", err
	}
	client.UnsafeSetRefTime(r.now)
	if err := client.Refresh(); err != nil {
		return "", err
	}
	if client.GetTrustedMetadataSet().Snapshot == nil {
		return "", errors.New("no snapshot")
	}
	info, err := client.GetTargetInfo(metadata.ChannelTarget("stable"))
	if err != nil {
		if strings.Contains(err.Error(), "not found") {
			return "", nil
		}
		return "", err
	}
	data, err := readMetadata(ctx, from, targetFile(metadata.ChannelTarget("stable"), sumOf(info)))
	if err != nil {
		return "", err
	}
	c, err := metadata.ParseChannel(data)
	if err != nil {
		return "", err
	}
	ref := c.Releases["amd64"]
	if info, err = client.GetTargetInfo(ref.Target); err != nil {
		return "", err
	}
	manifest, err := readMetadata(ctx, from, targetFile(ref.Target, sumOf(info)))
	if err != nil {
		return "", err
	}
	rel, err := metadata.ParseRelease(manifest)
	if err != nil {
		return "", err
	}
	for _, a := range rel.Artifacts() {
		info, err := client.GetTargetInfo(a.Target)
		if err != nil {
			return "", err
		}
		if artifact(a.Target, info) != a {
			return "", fmt.Errorf("%s is not what the manifest says", a.Target)
		}
		if err := checkTarget(ctx, from, a, nil); err != nil {
			return "", err
		}
	}
	return ref.Version, nil
}

// sees checks what the reader finds.
func (r *reader) sees(want ...string) {
	r.t.Helper()
	got, err := r.channel()
	if err != nil {
		r.t.Fatalf("the reader fails: %v", err)
	}
	for _, w := range want {
		if got == w {
			return
		}
	}
	r.t.Fatalf("the reader sees %q, want one of %q", got, want)
}

// errCrash is what a crashed store answers.
var errCrash = errors.New("crash")

// Where in a write a crash happens.
const (
	crashBefore = iota // nothing of it happened
	crashTorn          // an unfinished temporary file is left
	crashAfter         // it happened, and nothing after it
	crashModes
)

// crashStore ends at a given write, like a machine that loses power.
type crashStore struct {
	*storage.Folder
	at, mode int // the write, counted from 0
	count    int
	crashed  bool
	late     bool // when all was published, and only the marker was not written
}

// inside makes a repository write through the store.
func (c *crashStore) inside(r *Repository) {
	c.Folder = storage.NewFolder(r.Place())
	r.store = c
}

// plain returns the repository's folder without what a test has put before it.
func (r *Repository) plain() storage.Store { return storage.NewFolder(r.Place()) }

func (c *crashStore) step(do func() error, content []byte) error {
	if c.crashed {
		return errCrash
	}
	n := c.count
	c.count++
	if n != c.at {
		return do()
	}
	c.crashed = true
	switch c.mode {
	case crashTorn:
		torn := filepath.Join(c.String(), storage.WorkDir, atomicfile.TempPrefix+"123")
		if err := os.WriteFile(torn, content[:len(content)/2], 0o600); err != nil {
			return fmt.Errorf("torn file: %w", err)
		}
	case crashAfter:
		if err := do(); err != nil {
			return err
		}
	}
	return errCrash
}

func (c *crashStore) Create(ctx context.Context, name string, data []byte) error {
	return c.step(func() error { return c.Folder.Create(ctx, name, data) }, data)
}

func (c *crashStore) Replace(ctx context.Context, name string, data []byte, old storage.Info) error {
	before := c.crashed
	err := c.step(func() error { return c.Folder.Replace(ctx, name, data, old) }, data)
	c.late = c.late || name == publishedFile && c.crashed && !before
	return err
}

func (c *crashStore) Remove(ctx context.Context, name string) error {
	return c.step(func() error { return c.Folder.Remove(ctx, name) }, nil)
}

func (c *crashStore) Import(ctx context.Context, open func() (io.ReadCloser, error), name func(string) string) (sum string, length int64, err error) {
	r, err := open()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	err = c.step(func() error {
		var err error
		sum, length, err = c.Folder.Import(ctx, storage.Bytes(data), name)
		return err
	}, data)
	return sum, length, err
}

var _ storage.Store = (*crashStore)(nil)

// eachCrash runs the operation of a fresh set-up with a crash at every write
// in every mode, and after each the check. It returns the number of writes.
func eachCrash(t *testing.T, run func(t *testing.T, crash *crashStore) error, check func(t *testing.T)) int {
	t.Helper()
	for write := 0; ; write++ {
		for mode := range crashModes {
			crash := &crashStore{at: write, mode: mode}
			var err error
			t.Run(fmt.Sprintf("write %d mode %d", write, mode), func(t *testing.T) {
				err = run(t, crash)
				if crash.crashed && !crash.late && !errors.Is(err, errCrash) {
					t.Fatalf("crashed, and the command says %v", err)
				}
				check(t)
			})
			if !crash.crashed {
				if err != nil {
					t.Fatalf("without a crash: %v", err)
				}
				return write
			}
		}
	}
}
