package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"tufboot/metadata"
)

// VerifyOptions say how to verify.
type VerifyOptions struct {
	Options
	Root []byte // the root to start from; nil: the repository's version 1
	// Progress, if not nil, is told how many of all targets' bytes are done.
	Progress func(done, total int64)
}

// Verified is what Verify found to be right.
type Verified struct {
	RootVersion int64    `json:"root_version"` // where the walk of roots ended
	Targets     int      `json:"targets"`
	Bytes       int64    `json:"bytes"`
	Releases    int      `json:"releases"`
	Channels    []string `json:"channels"`
}

// Verify reads the repository in dir as a client would: go-tuf's own updater
// walks the roots and loads timestamp, snapshot and targets at the time of the
// clock; then every target's length and SHA-256 is checked, and that channels
// and manifests lead to targets that are there. Errors are [InvalidError].
func Verify(ctx context.Context, dir string, opts VerifyOptions) (*Verified, error) {
	v := &verifier{repo: newRepository(dir, opts.Options), progress: opts.Progress}
	root := opts.Root
	if root == nil {
		var err error
		if root, err = v.repo.store.Read(versionedFile(Root, 1)); errors.Is(err, fs.ErrNotExist) {
			return nil, refuse(ReasonNotRepository, "correct the path", "no %s in %s: not a repository", versionedFile(Root, 1), dir)
		} else if err != nil {
			return nil, err
		}
	}
	if err := v.refresh(root); err != nil {
		return nil, err
	}
	if err := v.checkTargets(ctx); err != nil {
		return nil, err
	}
	return v.checkReleases()
}

type verifier struct {
	repo     *Repository
	progress func(done, total int64)
	trusted  *state
	result   Verified
}

// refresh runs go-tuf's updater over the folder.
func (v *verifier) refresh(root []byte) (err error) {
	// The updater insists on a cache, and with an empty path would take files
	// of the current folder for it.
	cache, err := os.MkdirTemp("", "tufboot-verify-")
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer os.RemoveAll(cache)
	cfg, err := config.New("file:///"+metadata.MetadataDir, root)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	cfg.LocalMetadataDir = cache
	cfg.LocalTargetsDir = filepath.Join(cache, "targets")
	cfg.Fetcher = storeFetcher{v.repo.store}
	defer recoverMalformed(&err)
	client, err := updater.New(cfg)
	if err != nil {
		return clientError(fmt.Errorf("root: %w", err))
	}
	client.UnsafeSetRefTime(v.repo.clock())
	if err := client.Refresh(); err != nil {
		return clientError(err)
	}
	set := client.GetTrustedMetadataSet()
	v.trusted = &state{root: set.Root, timestamp: set.Timestamp, snapshot: set.Snapshot, targets: set.Targets[Targets]}
	v.result.RootVersion = set.Root.Signed.Version
	return nil
}

func clientError(err error) error {
	reason := ReasonBadRepository
	var expired *tuf.ErrExpiredMetadata
	if errors.As(err, &expired) {
		reason = "metadata-expired"
	}
	return &InvalidError{Reason: reason, Err: fmt.Errorf("a client refuses the repository: %w", err)}
}

// checkTargets streams every target and compares length and hash.
func (v *verifier) checkTargets(ctx context.Context) error {
	targets := v.trusted.targets.Signed.Targets
	var total int64
	for _, t := range targets {
		total += t.Length
	}
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		if err := metadata.CheckTarget(name); err != nil {
			return invalid("%w", err)
		}
		want := v.trusted.mustTarget(name)
		done := v.result.Bytes
		src := func(r io.Reader) io.Reader {
			return &source{ctx: ctx, r: r, progress: func(n int64) {
				if v.progress != nil {
					v.progress(done+n, total)
				}
			}}
		}
		if err := checkTarget(v.repo, want, src); err != nil {
			return err
		}
		v.result.Targets++
		v.result.Bytes += want.Length
	}
	return nil
}

func (st *state) mustTarget(name string) metadata.Artifact {
	a, _ := st.target(name)
	return a
}

func checkTarget(r *Repository, want metadata.Artifact, wrap func(io.Reader) io.Reader) error {
	f, err := os.Open(filepath.Join(r.dir, filepath.FromSlash(targetFile(want.Target, want.SHA256))))
	if errors.Is(err, fs.ErrNotExist) {
		return invalid("target %s is missing: %w", want.Target, err)
	} else if err != nil {
		return fmt.Errorf("target %s: %w", want.Target, err)
	}
	defer f.Close()
	sum, length, err := copyHashed(io.Discard, wrap(f))
	switch {
	case err != nil:
		return fmt.Errorf("target %s: %w", want.Target, err)
	case length != want.Length:
		return &InvalidError{Reason: "bad-length", Err: fmt.Errorf("target %s has %d bytes, not %d", want.Target, length, want.Length)}
	case sum != want.SHA256:
		return &InvalidError{Reason: "bad-hash", Err: fmt.Errorf("target %s has SHA-256 %s, not %s", want.Target, sum, want.SHA256)}
	}
	return nil
}

// checkReleases checks that channels lead to manifests and these to artifacts.
func (v *verifier) checkReleases() (*Verified, error) {
	v.result.Channels = []string{}
	for _, name := range slices.Sorted(maps.Keys(v.trusted.targets.Signed.Targets)) {
		if _, _, ok := manifestOf(name); ok {
			if err := v.checkManifest(name); err != nil {
				return nil, err
			}
			v.result.Releases++
		} else if isChannel(name) {
			if err := v.checkChannel(name); err != nil {
				return nil, err
			}
			v.result.Channels = append(v.result.Channels, path.Base(name[:len(name)-len(".json")]))
		}
	}
	return &v.result, nil
}

func (v *verifier) checkManifest(name string) error {
	data, err := readTarget(v.repo.store, v.trusted, name)
	if err != nil {
		return err
	}
	release, err := metadata.ParseRelease(data)
	if err != nil {
		return invalid("target %s: %w", name, err)
	}
	for _, a := range release.Artifacts() {
		if v.trusted.mustTarget(a.Target) != a {
			return invalid("release %s (%s): the signed target %s is not what the manifest names", release.Version, release.Arch, a.Target)
		}
	}
	return nil
}

func (v *verifier) checkChannel(name string) error {
	data, err := readTarget(v.repo.store, v.trusted, name)
	if err != nil {
		return err
	}
	channel, err := metadata.ParseChannel(data)
	if err != nil {
		return invalid("target %s: %w", name, err)
	}
	for arch, ref := range channel.Releases {
		if v.trusted.mustTarget(ref.Target).SHA256 != string(ref.SHA256) {
			return invalid("channel %s (%s): the signed target %s is not what the channel names", channel.Name, arch, ref.Target)
		}
	}
	return nil
}

// storeFetcher lets go-tuf's updater read a store as if it were a web server.
type storeFetcher struct{ store store }

// DownloadFile implements go-tuf's fetcher.Fetcher.
func (f storeFetcher) DownloadFile(url string, maxLength int64, _ time.Duration) ([]byte, error) {
	name := path.Join(metadata.MetadataDir, path.Base(url))
	size, err := f.store.Size(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &tuf.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: name}
	} else if err != nil {
		return nil, err
	}
	if size > maxLength {
		return nil, &tuf.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s has %d bytes, more than %d", name, size, maxLength)}
	}
	return f.store.Read(name)
}
