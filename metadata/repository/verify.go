package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	"tufboot/metadata/storage"
)

// VerifyOptions say how to verify.
type VerifyOptions struct {
	Options
	Root []byte // the root to start from; nil: the repository's version 1
	// MetadataOnly reads no target but channels and the manifests that these
	// point to.
	MetadataOnly bool
	// Progress, if not nil, is told how many of all targets' bytes are done.
	Progress func(done, total int64)
}

// Verified is what Verify found to be right.
type Verified struct {
	RootVersion int64    `json:"root_version"` // where the walk of roots ended
	Targets     int      `json:"targets"`
	Bytes       int64    `json:"bytes"` // of targets that were read and are right
	Releases    int      `json:"releases"`
	Channels    []string `json:"channels"`
}

// Verify reads a repository as a client would: go-tuf's own updater walks the
// roots, loads timestamp, snapshot and targets at the time of the clock, and
// finds every target through the delegations; then every target's length and
// SHA-256 is checked, and that channels and manifests lead to targets that are
// there. Where the place has a list of its files, what is published must not be
// older than it once was. Errors are [InvalidError], or those of the store.
func Verify(ctx context.Context, from storage.Reader, opts VerifyOptions) (*Verified, error) {
	v := &verifier{from: from, now: opts.Now, progress: opts.Progress, metadataOnly: opts.MetadataOnly}
	if v.now == nil {
		v.now = time.Now
	}
	root := opts.Root
	if root == nil {
		var err error
		if _, root, err = loadRoot(ctx, from, 1); err != nil {
			return nil, err
		}
	}
	if err := checkNotOlder(ctx, from); err != nil {
		return nil, err
	}
	if err := v.refresh(ctx, root); err != nil {
		return nil, err
	}
	if err := v.checkTargets(ctx); err != nil {
		return nil, err
	}
	return v.checkReleases(ctx)
}

func checkNoStray(ctx context.Context, from storage.Reader, newest int64) error {
	stray := strayRoot(ctx, from, newest)
	if stray == "" {
		return nil
	}
	return &InvalidError{Reason: ReasonBadRepository, Advice: "find out who put it there, and remove it",
		Err: fmt.Errorf("%s does not belong to the row of roots, which ends with version %d: after a change of keys clients would refuse it", stray, newest)}
}

// checkNotOlder finds what a new client cannot: that an older state was put back, or
// that a root lies where the row has yet to grow.
func checkNotOlder(ctx context.Context, from storage.Reader) error {
	list, ok := from.(Listable)
	if !ok {
		return nil
	}
	was, err := readBefore(ctx, list) // before what is published, which may become newer meanwhile
	if err == nil {
		st, loadErr := load(ctx, from)
		if loadErr != nil {
			return nil //nolint:nilerr // the client says what is wrong
		}
		if err = was.check(ctx, st); err == nil {
			err = checkNoStray(ctx, from, st.root.Signed.Version)
		}
	}
	var refused *RefusedError
	if errors.As(err, &refused) && refused.Reason == ReasonRegression {
		return &InvalidError{Reason: "metadata-rollback", Advice: refused.Advice, Err: err}
	}
	return err
}

type verifier struct {
	from         storage.Reader
	now          func() time.Time
	progress     func(done, total int64)
	metadataOnly bool
	client       *updater.Updater
	st           *state
	entries      []entry
	result       Verified
}

// refresh runs go-tuf's updater over the repository.
func (v *verifier) refresh(ctx context.Context, root []byte) (err error) {
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
	cfg.DisableLocalCache = true
	cfg.Fetcher = readerFetcher{ctx, v.from}
	defer recoverMalformed(&err)
	if v.client, err = updater.New(cfg); err != nil {
		return clientError(fmt.Errorf("root: %w", err))
	}
	v.client.UnsafeSetRefTime(v.now().UTC())
	if err := v.client.Refresh(); err != nil {
		return clientError(err)
	}
	set := v.client.GetTrustedMetadataSet()
	if err := checkBins(set.Targets[Targets]); err != nil {
		return invalid("targets: %w", err)
	}
	v.st = &state{
		from: v.from, root: set.Root, timestamp: set.Timestamp, snapshot: set.Snapshot,
		roles: map[string]*targetsRole{Targets: {Targets, Root, set.Targets[Targets]}},
	}
	v.result.RootVersion = set.Root.Signed.Version
	v.entries, err = v.st.all(ctx)
	return err
}

func clientError(err error) error {
	reason := ReasonBadRepository
	var expired *tuf.ErrExpiredMetadata
	if errors.As(err, &expired) {
		reason = "metadata-expired"
	}
	return &InvalidError{Reason: reason, Err: fmt.Errorf("a client refuses the repository: %w", err)}
}

// checkTargets lets the client find every target, and compares its bytes.
func (v *verifier) checkTargets(ctx context.Context) error {
	var total int64
	for _, t := range v.entries {
		total += t.Length
	}
	for _, t := range v.entries {
		if err := metadata.CheckTarget(t.Target); err != nil {
			return invalid("%w", err)
		}
		if err := v.find(t.Artifact); err != nil {
			return err
		}
		v.result.Targets++
		if v.metadataOnly {
			continue
		}
		progress := func(done int64) {
			if v.progress != nil {
				v.progress(v.result.Bytes+done, total)
			}
		}
		if err := v.checkContent(ctx, t.Artifact, progress); err != nil {
			return err
		}
		v.result.Bytes += t.Length
	}
	return nil
}

// find looks a target up with go-tuf's updater.
func (v *verifier) find(want metadata.Artifact) (err error) {
	defer recoverMalformed(&err)
	info, err := v.client.GetTargetInfo(want.Target)
	if err != nil {
		return clientError(err)
	}
	if got := artifact(want.Target, info); got != want {
		return invalid("a client finds target %s with SHA-256 %s, not %s", want.Target, got.SHA256, want.SHA256)
	}
	return nil
}

// checkTarget streams a target and compares length and hash.
func checkTarget(ctx context.Context, from storage.Reader, want metadata.Artifact, progress func(done int64)) error {
	return checkTargetTo(ctx, io.Discard, from, want, progress)
}

// checkTargetTo does so, and writes it to w.
func checkTargetTo(ctx context.Context, w io.Writer, from storage.Reader, want metadata.Artifact, progress func(done int64)) error {
	f, _, err := from.Open(ctx, targetFile(want.Target, want.SHA256))
	if errors.Is(err, fs.ErrNotExist) {
		return spoiled(want.Target, ReasonBadRepository, "target %s is missing: %w", want.Target, err)
	} else if errors.Is(err, storage.ErrNotRegular) {
		return spoiled(want.Target, ReasonBadRepository, "target %s: %w", want.Target, err)
	} else if err != nil {
		return fmt.Errorf("target %s: %w", want.Target, err)
	}
	defer f.Close()
	sum, length, err := storage.CopyHashed(ctx, w, &watched{f, 0, progress})
	switch {
	case err != nil:
		return fmt.Errorf("target %s: %w", want.Target, err)
	case length != want.Length:
		return spoiled(want.Target, "bad-length", "target %s has %d bytes, not %d", want.Target, length, want.Length)
	case sum != want.SHA256:
		return spoiled(want.Target, "bad-hash", "target %s has SHA-256 %s, not %s", want.Target, sum, want.SHA256)
	}
	return nil
}

// spoiled says that a target's file is not what was signed, and how it gets so again.
func spoiled(target, reason, format string, args ...any) error {
	advice := "find out who changed it, and restore the file from a mirror or a copy"
	if _, _, ok := releaseOf(target); ok {
		advice += ", or publish the same release again from the same files: what is missing or wrong is put back"
	}
	return &InvalidError{Reason: reason, Advice: advice, Err: fmt.Errorf(format, args...)}
}

// checkReleases checks that channels lead to manifests and these to artifacts.
func (v *verifier) checkReleases(ctx context.Context) (*Verified, error) {
	v.result.Channels = []string{}
	for _, t := range v.entries {
		if _, _, ok := manifestOf(t.Target); ok {
			v.result.Releases++
			if v.metadataOnly {
				continue
			}
			if err := v.checkManifest(ctx, t.Target); err != nil {
				return nil, err
			}
		} else if isChannel(t.Target) {
			name, err := v.checkChannel(ctx, t.Target)
			if err != nil {
				return nil, err
			}
			v.result.Channels = append(v.result.Channels, name)
		}
	}
	return &v.result, nil
}

func (v *verifier) checkManifest(ctx context.Context, name string) error {
	data, err := v.st.readTarget(ctx, name)
	if err != nil {
		return err
	}
	release, err := metadata.ParseRelease(data)
	if err != nil {
		return invalid("target %s: %w", name, err)
	}
	for _, a := range release.Targets() {
		if got, _, err := v.st.target(ctx, a.Target); err != nil {
			return err
		} else if got != a {
			return invalid("release %s (%s): the signed target %s is not what the manifest names", release.Version, release.Arch, a.Target)
		}
	}
	return nil
}

func (v *verifier) checkChannel(ctx context.Context, name string) (string, error) {
	channel, err := v.st.readChannel(ctx, name)
	if err != nil {
		return "", err
	}
	for arch, current := range channel.Releases {
		for _, ref := range append(slices.Clone(channel.Steps[arch]), current) {
			if got, _, err := v.st.target(ctx, ref.Target); err != nil {
				return "", err
			} else if got.SHA256 != string(ref.SHA256) {
				return "", invalid("channel %s (%s): the signed target %s is not what the channel names", channel.Name, arch, ref.Target)
			}
			if !v.metadataOnly {
				continue // every manifest is checked
			}
			if err := v.checkManifest(ctx, ref.Target); err != nil {
				return "", err
			}
		}
	}
	return channel.Name, nil
}

// readerFetcher lets go-tuf's updater read a store as if it were a web server.
type readerFetcher struct {
	ctx  context.Context //nolint:containedctx // go-tuf's interface has none
	from storage.Reader
}

// DownloadFile implements go-tuf's fetcher.Fetcher.
func (f readerFetcher) DownloadFile(url string, maxLength int64, _ time.Duration) ([]byte, error) {
	name := path.Join(metadata.MetadataDir, path.Base(url))
	data, _, err := storage.ReadFile(f.ctx, f.from, name, maxLength)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &tuf.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: name}
	case errors.Is(err, storage.ErrTooLarge):
		return nil, &tuf.ErrDownloadLengthMismatch{Msg: err.Error()}
	}
	return data, err
}
