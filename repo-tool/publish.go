package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"tufboot/image/initramfs"
	"tufboot/internal/console"
	"tufboot/metadata"
	"tufboot/metadata/repository"
)

// defaultArch is published for where --arch is not given: what most nodes are,
// whatever machine the release is made on.
const defaultArch = "amd64"

const defaultChannel = "stable"

func publishCommand() *cli.Command {
	return &cli.Command{
		Name:  "publish",
		Usage: "add a release and point a channel to it",
		Description: examples(`Copies the kernel and the initramfs into the repository, signs, and points the
channel to the new release. The same release again is nothing to do; the same
version with other content is refused (version-exists), and so is an initramfs that
by its first bytes is none (bad-initramfs).

Versions are compared as systemd does (UAPI version format): 1.5.0~rc1 is below
1.5.0, and 1.10 above 1.9. A channel does not go to a lower version by itself.

Files of 1 MiB and more get a chunk map, with which nodes fetch only what they do
not have yet. What that comes to for nodes on the channel's last releases is shown.`,
			"repo-tool publish --repo repo --keys keys --version 1.4.0 --kernel vmlinuz --initramfs initrd.img",
			`repo-tool publish --repo repo --keys keys --version 1.5.0~rc1 --channel beta --arch arm64 \`,
			`     --kernel Image --initramfs initrd.img --cmdline "console=ttyS0 quiet" --notes notes.md`),
		Flags: append([]cli.Flag{
			repoFlag(),
			&cli.StringFlag{Name: "channel", Value: defaultChannel, Usage: "point the channel `C` to the release; \"\" for none"},
			// For tests and measurements, whose files nothing boots.
			&cli.BoolFlag{Name: "unsafe-any-initramfs", Hidden: true, EnvVars: []string{"REPO_TOOL_UNSAFE_ANY_INITRAMFS"}},
		}, slices.Concat(releaseFlags(), pointingFlags(), lockingFlags())...),
		Action: runPublish,
	}
}

// releaseFlags describe a release.
func releaseFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "version", Usage: "the release's version `V`"},
		&cli.StringFlag{Name: "arch", Value: defaultArch, Usage: "the architecture `A`, as Go names it"},
		&cli.StringFlag{Name: "kernel", Usage: "the kernel image `FILE`"},
		&cli.StringFlag{Name: "initramfs", Usage: "the initramfs `FILE`"},
		&cli.StringFlag{Name: "cmdline", Usage: "the release's kernel command line `ARGS`"},
		&cli.StringFlag{Name: "notes", Usage: "release notes, from `FILE`"},
		&cli.BoolFlag{Name: "no-delta", Usage: "make no chunk maps: every node fetches all of the release"},
	}
}

// releaseOf returns the release that releaseFlags describe.
func releaseOf(c *cli.Context) (repository.PublishOptions, error) {
	if err := require(c, "version", "kernel", "initramfs"); err != nil {
		return repository.PublishOptions{}, err
	}
	if err := checkArch(c); err != nil {
		return repository.PublishOptions{}, err
	}
	opts := repository.PublishOptions{
		Version:   c.String("version"),
		Arch:      c.String("arch"),
		Kernel:    c.String("kernel"),
		Initramfs: c.String("initramfs"),
		Cmdline:   c.String("cmdline"),
		NoDelta:   c.Bool("no-delta"),
	}
	if path := c.String("notes"); path != "" {
		notes, err := os.ReadFile(path)
		if err != nil {
			return opts, fmt.Errorf("notes: %w", err)
		} else if len(notes) > metadata.MaxManifestSize {
			return opts, console.Usagef("--notes %s: %d bytes, and a release's manifest, of which they are a part, has %d at most", path, len(notes), metadata.MaxManifestSize)
		}
		opts.Notes = string(notes)
	}
	return opts, nil
}

func runPublish(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "repo"); err != nil {
		return err
	}
	opts, err := releaseOf(c)
	if err != nil {
		return err
	}
	if !c.Bool("unsafe-any-initramfs") {
		if err := initramfs.Look(opts.Initramfs); err != nil {
			return badInitramfs(err)
		}
	}
	opts.Channel = c.String("channel")
	if opts.Pointing, err = pointingOf(c); err != nil {
		return err
	}
	if p := opts.Pointing; opts.Channel == "" && (p.Rollout != nil || p.Minimum != "" || p.Steps != nil) {
		return console.Usagef("publish: --rollout, --minimum and --step say how a channel points to the release: name the channel")
	}
	repo, keys, err := openToSign(c, v)
	if err != nil {
		return err
	}
	opts.Keys = keys
	bars := &bars{}
	if !v.json && console.IsTerminal(os.Stderr) {
		opts.Progress = bars.show
	}
	result, err := signWith(c, keys, func() (*repository.Published, error) { return repo.Publish(c.Context, opts) })
	bars.close()
	if err != nil {
		return err
	}
	if d := spoiled(result); d != nil {
		v.logger.Warn("a node fetches nearly all of the initramfs anew: either all of it has changed, or it is compressed as one stream, in which a small change alters all that follows; \"repo-tool repack\" packs it so that what stayed the same is found again",
			"from", d.Version, "fetched", d.Initramfs, "of", result.Release.Initramfs.Length)
	}
	if text := otherMaps(result, opts.NoDelta); text != "" {
		v.logger.Warn(text, "version", opts.Version)
	}
	return v.print(c, result, func(w io.Writer) {
		publishText(w, result)
		if result.Changed && opts.Rollout != nil {
			stopText(w, &metadata.Rollout{Start: v.now(), Waves: opts.Rollout}, v.now())
		}
	})
}

func publishText(w io.Writer, p *repository.Published) {
	if !p.Changed {
		fmt.Fprintf(w, "nothing to do: release %s (%s) is published\n", p.Release.Version, p.Release.Arch)
		return
	}
	if p.Added {
		fmt.Fprintf(w, "published release %s (%s), %d bytes, identity %s\n", p.Release.Version, p.Release.Arch, p.Release.Size(), p.ID.Short())
	} else {
		fmt.Fprintf(w, "release %s (%s) was published before, identity %s\n", p.Release.Version, p.Release.Arch, p.ID.Short())
	}
	if p.NewChannel {
		fmt.Fprint(w, "new ")
	}
	if p.Channel != "" {
		fmt.Fprintf(w, "channel %s points to it\n", p.Channel)
	}
	deltaText(w, p.Deltas)
}

// deltaText says what nodes on past releases download.
func deltaText(w io.Writer, deltas []repository.Delta) {
	for _, d := range deltas {
		parts := "parts"
		if d.Requests == 1 {
			parts = "part"
		}
		fmt.Fprintf(w, "nodes on release %s fetch %d bytes (%.1f %%) in %d %s", d.Version, d.Bytes, 100*float64(d.Bytes)/float64(d.Of), d.Requests, parts)
		if d.Unmapped {
			fmt.Fprint(w, ", or less: that release has no chunk map to tell it by")
		}
		fmt.Fprintln(w)
	}
}

// otherMaps says that a release was published before in another way than is asked for
// now: with chunk maps, or without.
func otherMaps(p *repository.Published, noDelta bool) string {
	r := p.Release
	long := r.Kernel.Length >= metadata.MinChunked || r.Initramfs.Length >= metadata.MinChunked
	mapped := r.KernelChunks != nil || r.InitramfsChunks != nil
	switch {
	case p.Added || !long || mapped == !noDelta:
		return ""
	case mapped:
		return "the release was published with chunk maps, and keeps them"
	}
	return "the release was published without chunk maps, and nodes go on fetching all of it; publish the files under another version to give it some"
}

// spoiled returns what a node on the last release fetches, if that is so much of the
// initramfs that delta does not help, else nil.
func spoiled(p *repository.Published) *repository.Delta {
	const most = 0.8
	if !p.Changed || len(p.Deltas) == 0 || p.Release.InitramfsChunks == nil {
		return nil
	}
	d := &p.Deltas[0]
	if d.Unmapped || float64(d.Initramfs) <= most*float64(p.Release.Initramfs.Length) {
		return nil
	}
	return d
}

// bars shows one progress bar after the other, a file each.
type bars struct {
	file string
	bar  *console.Progress
}

func (b *bars) show(file string, done, total int64) {
	if b.bar == nil || b.file != file {
		b.close()
		b.file, b.bar = file, console.NewProgress(os.Stderr, file, total)
	}
	b.bar.Set(done)
}

func (b *bars) close() { b.bar.Close() }
