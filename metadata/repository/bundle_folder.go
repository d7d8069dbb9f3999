package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// BundleFolder writes a bundle into a folder that does not exist, is empty, or
// holds a bundle of the same repository; of that, what is no longer needed is
// removed at the end. Everything else is refused with ReasonNotEmpty, so that no
// repository is taken for a bundle.
//
// It writes in the order of [Mirror]; a run that was killed is completed by
// running it again. At the end it calls Try on the folder.
func BundleFolder(ctx context.Context, from storage.Reader, dir string, opts BundleOptions) (*Bundled, error) {
	if err := checkBundleFolder(dir); err != nil {
		return nil, err
	}
	m := newBundler(from, storage.NewFolder(dir), opts)
	unlock, err := newRepository(m.to, opts.Options).lockAny(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := m.contents(ctx, opts, func(c *bundleContents) error { return m.fill(ctx, c) })
	if err != nil {
		return nil, err
	}
	if err := m.clear(ctx, c); err != nil {
		return nil, err
	}
	removeEmpty(filepath.Join(dir, metadata.TargetsDir))
	// Locks are of no use on a stick.
	if err := os.RemoveAll(filepath.Join(dir, storage.WorkDir)); err != nil {
		return nil, err
	}
	return c.about, tryBundle(ctx, m.to, c, opts)
}

// newBundler returns a mirror that copies a part. to may be nil.
func newBundler(from storage.Reader, to storage.Store, opts BundleOptions) *mirror {
	m := newMirror(from, to, MirrorOptions{
		Options: opts.Options, Root: opts.Root, AllowExpired: opts.AllowExpired, Progress: opts.Progress,
	})
	m.bundle = true
	return m
}

// contents chooses what goes into the bundle and lets write write it, again if
// the source has changed meanwhile.
func (m *mirror) contents(ctx context.Context, opts BundleOptions, write func(*bundleContents) error) (*bundleContents, error) {
	const tries = 3
	for try := 1; ; try++ {
		c, err := m.chooseNow(ctx, opts)
		if err == nil {
			err = write(c)
		}
		if err == nil || try == tries || !m.overtaken(ctx, err) {
			return c, err
		}
		m.logger.Info("the source has changed meanwhile: starting over", "cause", err)
	}
}

func (m *mirror) chooseNow(ctx context.Context, opts BundleOptions) (*bundleContents, error) {
	there := new(destination)
	if m.to != nil {
		var err error
		if there, err = m.destination(ctx); err != nil {
			return nil, err
		}
	}
	now, err := m.source(ctx, there.row)
	if err != nil {
		return nil, err
	}
	if err := there.checkForward(now); err != nil {
		return nil, err
	}
	return m.choose(ctx, now, opts)
}

// fill writes what the bundle lacks. bundle.json is first: the folder is
// recognised by it if this is cut short.
func (m *mirror) fill(ctx context.Context, c *bundleContents) error {
	if err := m.replace(ctx, file{bundleFile, c.aboutData}); err != nil {
		return err
	}
	copier := &copier{from: m.from, to: m.to, progress: m.opts.Progress}
	var jobs []func(context.Context) error
	for _, a := range c.targets {
		m.warnLarge(a.Target, a.Length)
		copier.total += a.Length
		jobs = append(jobs, func(ctx context.Context) error { return copier.target(ctx, a) })
	}
	for _, f := range c.roles {
		jobs = append(jobs, func(ctx context.Context) error { return m.createSame(ctx, f) })
	}
	if err := inParallel(ctx, m.opts.Parallel, jobs); err != nil {
		return err
	}
	for _, f := range c.roots {
		if err := m.createSame(ctx, f); err != nil {
			return err
		}
	}
	return m.replace(ctx, c.timestamp)
}

// replace makes or replaces a file; nobody else writes here.
func (m *mirror) replace(ctx context.Context, f file) error {
	data, info, err := storage.ReadFile(ctx, m.to, f.name, maxMetadata)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Equal(data, f.data) {
		return err
	}
	return m.to.Replace(ctx, f.name, f.data, info)
}

// clear removes what an earlier bundle held and this one does not.
func (m *mirror) clear(ctx context.Context, c *bundleContents) error {
	keep := c.names()
	for _, dir := range []string{metadata.MetadataDir, metadata.TargetsDir} {
		for info, err := range m.to.List(ctx, dir+"/") {
			if err != nil {
				return err
			}
			if keep[info.Name] {
				continue
			}
			if err := m.to.Remove(ctx, info.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeEmpty removes the folders in which no file is left. Others stay, and so
// does what cannot be removed: an empty folder harms nobody.
func removeEmpty(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if entry.IsDir() {
			removeEmpty(filepath.Join(dir, entry.Name()))
		}
	}
	os.Remove(dir)
}

// checkBundleFolder refuses a folder that holds anything but a bundle.
func checkBundleFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if len(entries) == 0 || len(entries) == 1 && entries[0].Name() == storage.WorkDir {
		return nil
	}
	var b Bundled
	data, err := os.ReadFile(filepath.Join(dir, bundleFile))
	if err == nil && json.Unmarshal(data, &b) == nil && b.Schema == bundleSchema {
		return nil
	}
	return refuse(ReasonNotEmpty, "name a folder that does not exist, or an empty one", "%s holds something that is no bundle", dir)
}

func encodeBundled(b *Bundled) ([]byte, error) {
	data, err := json.MarshalIndent(b, "", "  ")
	return append(data, '\n'), err
}

// tryBundle lets Try read the bundle.
func tryBundle(ctx context.Context, at storage.Reader, c *bundleContents, opts BundleOptions) error {
	if opts.Try == nil {
		return nil
	}
	return opts.Try(ctx, at, c.about)
}
