package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// What Prune keeps unless it is told otherwise.
const (
	// DefaultKeep is how many releases are kept that a channel pointed to before.
	DefaultKeep = 3
	// DefaultGrace is for how long what was published before is kept for clients
	// in flight.
	DefaultGrace = 7 * day
)

// PruneOptions say what to keep.
type PruneOptions struct {
	// Keep is how many releases are kept that a channel pointed to before, for
	// each channel and architecture.
	Keep int
	// Grace is how long files are kept after nothing that is published names them
	// any more, and in any case after they were written. It must be longer than
	// what a node takes from the refresh of its metadata to the end of a
	// download, and than the upload of a release.
	Grace time.Duration
	// FilesOnly leaves the signed metadata as it is, and needs no keys: for
	// mirrors.
	FilesOnly bool
	// DryRun changes nothing and needs no keys.
	DryRun bool
	Keys   Signers
	// Parallel is how many files are removed at once; 0: 4.
	Parallel int
	// Progress, if not nil, is told how many of the files that go are removed. It
	// is called by one goroutine at a time.
	Progress func(done, total int64)
}

// Pruned is what Prune did, or with DryRun would do.
type Pruned struct {
	DryRun   bool            `json:"dry_run"`
	Releases []PrunedRelease `json:"releases"` // taken out of the signed metadata
	Files    []PrunedFile    `json:"files"`    // removed
	Bytes    int64           `json:"bytes"`    // freed
	Versions Versions        `json:"versions"`
}

// PrunedRelease is a release that was taken out of the signed metadata. Its
// files go with the first Prune after the grace period.
type PrunedRelease struct {
	Version string      `json:"version"`
	Arch    string      `json:"arch"`
	ID      metadata.ID `json:"id"`
	Bytes   int64       `json:"bytes"` // of its targets
}

// PrunedFile is a file that was removed.
type PrunedFile struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Prune takes releases out of the signed metadata that nobody needs, and then
// removes files that nothing names. It can be killed at any moment, and goes on
// when it is run again.
//
// # Releases
//
// A release is kept if a channel points to it, or leads nodes through it as a
// step, or if it is among the last Keep that the channel pointed to, withdrawn
// ones not counted. Where a channel does not remember what it pointed to (it was
// written by another tool), the Keep highest versions below its own are kept.
// A release is kept, too, if its manifest was written within the grace period:
// it may be meant for a channel. The change is published like any other.
//
// # Files
//
// A target or a numbered metadata file is removed if neither what is published
// now names it, nor a past state that clients may have got hold of within the
// grace period, nor the file itself was written within it: it may belong to a
// publication that goes on just now. Of the last past states, which are tried
// with each publication, the metadata is kept for as long as they are. No version
// of root.json is ever removed, nor a number that is above the published one, so
// that none is used twice, nor anything outside metadata/ and targets/ or with
// another form of name. Past states that are neither within the grace period nor
// among the last go, too.
//
// # Publishing meanwhile
//
// A folder is locked. In a bucket, what is published is loaded again when it has
// changed, before more is removed. What a publisher uploads meanwhile is new, and
// stays. One case is left: a publisher that adds, at this moment, a file with the
// very name and content of one that was removed from the metadata long ago, and
// therefore does not upload it. Prune looks once more at the end and reports such
// a file as an error, with ReasonConflict; [Repository.Publish] of the same release
// puts it back.
func (r *Repository) Prune(ctx context.Context, opts PruneOptions) (*Pruned, error) {
	if opts.Keep < 0 || opts.Grace < 0 {
		return nil, fmt.Errorf("prune: keep %d and grace %s cannot be negative", opts.Keep, opts.Grace)
	}
	if opts.Parallel <= 0 {
		opts.Parallel = defaultParallel
	}
	p := &pruner{r: r, opts: opts, cutoff: r.clock().Add(-opts.Grace)}
	p.result = Pruned{DryRun: opts.DryRun, Releases: []PrunedRelease{}, Files: []PrunedFile{}}
	run := p.run
	if opts.DryRun {
		run = p.dryRun
	}
	if err := run(ctx); err != nil {
		return nil, err
	}
	return &p.result, nil
}

// pruner is one run of Prune.
type pruner struct {
	r      *Repository
	opts   PruneOptions
	cutoff time.Time // the grace period began then
	result Pruned
	// found is what there was before anything else was looked at: a file that
	// comes later is none of this run's business.
	found map[string]storage.Info
	// old is the raw metadata of all states, read once.
	old *rawMetadata
	// gone are the names of removed files.
	gone map[string]bool
}

func (p *pruner) run(ctx context.Context) error {
	e, err := p.r.Edit(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := p.look(ctx); err != nil {
		return err
	}
	if !p.opts.FilesOnly {
		drop, err := p.drops(ctx, e.state)
		if err != nil {
			return err
		}
		for target := range drop {
			if err := e.Remove(ctx, target); err != nil {
				return err
			}
		}
		if _, err := e.Commit(ctx, p.opts.Keys); err != nil {
			return err
		}
	}
	return p.sweep(ctx)
}

// dryRun finds out what run would do.
func (p *pruner) dryRun(ctx context.Context) error {
	if err := p.look(ctx); err != nil {
		return err
	}
	st, err := load(ctx, p.r.store)
	if err != nil {
		return err
	}
	var drop map[string]bool
	if !p.opts.FilesOnly {
		if drop, err = p.drops(ctx, st); err != nil {
			return err
		}
	}
	p.result.Versions = st.versions()
	names, err := p.unnamed(ctx, st, drop)
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(names[0], names[1]) {
		p.count(name)
	}
	return nil
}

// look lists what there is.
func (p *pruner) look(ctx context.Context) error {
	p.found = make(map[string]storage.Info)
	p.gone = make(map[string]bool)
	for _, dir := range []string{metadata.MetadataDir + "/", metadata.TargetsDir + "/", historyDir} {
		for info, err := range p.r.store.List(ctx, dir) {
			if err != nil {
				return err
			}
			p.found[info.Name] = info
		}
	}
	return nil
}

// count adds a file to what is reported. Past states are no part of the
// repository.
func (p *pruner) count(name string) {
	p.gone[name] = true
	info := p.found[name]
	p.result.Files = append(p.result.Files, PrunedFile{name, info.Size})
	p.result.Bytes += info.Size
}

// recent reports whether a file was written within the grace period, or may
// have been.
func (p *pruner) recent(name string) bool {
	info, ok := p.found[name]
	return !ok || info.Modified.IsZero() || !info.Modified.Before(p.cutoff)
}

// sweep removes what nothing names, as often as somebody publishes meanwhile.
func (p *pruner) sweep(ctx context.Context) error {
	const tries = 10
	for range tries {
		again, err := p.sweepOnce(ctx)
		if err != nil || !again {
			return err
		}
	}
	return refuse(ReasonConflict, "run this command again later", "repository %s is published to all the time", p.r.store)
}

// sweepOnce removes what a state that is published does not name, and reports
// whether it was published to meanwhile.
func (p *pruner) sweepOnce(ctx context.Context) (again bool, err error) {
	st, err := load(ctx, p.r.store)
	if err != nil {
		return false, err
	}
	p.result.Versions = st.versions()
	names, err := p.unnamed(ctx, st, nil)
	if err != nil {
		return false, err
	}
	total := len(p.gone) + len(names[0]) + len(names[1])
	for _, names := range names {
		const batch = 64 // files that are removed between two looks at the timestamp
		for some := range slices.Chunk(names, batch) {
			if changed, err := p.changed(ctx, st); err != nil || changed {
				return changed, err
			}
			if err := p.remove(ctx, some); err != nil {
				return false, err
			}
			if p.opts.Progress != nil {
				p.opts.Progress(int64(len(p.gone)), int64(total))
			}
		}
	}
	return p.changed(ctx, st)
}

func (p *pruner) remove(ctx context.Context, names []string) error {
	var jobs []func(context.Context) error
	for _, name := range names {
		jobs = append(jobs, func(ctx context.Context) error { return p.r.store.Remove(ctx, name) })
	}
	if err := inParallel(ctx, p.opts.Parallel, jobs); err != nil {
		return err
	}
	for _, name := range names {
		p.count(name)
		p.r.logger.Info("removed", "file", name)
	}
	return nil
}

// changed reports whether something was published since a state was loaded.
func (p *pruner) changed(ctx context.Context, st *state) (bool, error) {
	info, err := p.r.store.Stat(ctx, timestampFile)
	return err == nil && info.Version != st.timestampInfo.Version, err
}

// errGone is what is left of the one case that cannot be kept apart.
var errGone = errors.New("was published again while it was removed")
