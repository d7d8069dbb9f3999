package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func pruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "remove releases and files that nobody needs any more",
		Description: examples(`Takes releases out of the signed metadata that no channel points to, leads
through, or was pointing to lately (--keep), and that are not new. Then removes
files that nothing names any more, when the grace period is over: nodes that
have refreshed before can download to the end. Versions of root.json are never
removed. It can be interrupted. Like whatever changes a repository, it is refused
(repository-locked) while another command works on the folder, unless --wait lets
it wait for that.`,
			"repo-tool prune --repo repo --keys online-keys --dry-run",
			"repo-tool prune --repo repo --keys online-keys --keep 5 --grace 336h",
			"repo-tool prune --repo /srv/mirror --files-only"),
		Flags: append([]cli.Flag{
			repoFlag(),
			&cli.IntFlag{Name: "keep", Value: repository.DefaultKeep, Usage: "keep the last `K` releases that each channel pointed to before"},
			&cli.DurationFlag{Name: "grace", Value: repository.DefaultGrace, Usage: "keep for `DURATION` what nothing names any more, and what is new"},
			&cli.BoolFlag{Name: "files-only", Usage: "leave the signed metadata as it is: needs no keys; for mirrors"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would go, and change nothing: needs no keys"},
		}, lockingFlags()...),
		Action: runPrune,
	}
}

func runPrune(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	opts := repository.PruneOptions{
		Keep: c.Int("keep"), Grace: c.Duration("grace"), FilesOnly: c.Bool("files-only"), DryRun: c.Bool("dry-run"),
	}
	if opts.Keep < 0 || opts.Grace < 0 {
		return console.Usagef("prune: --keep and --grace cannot be negative")
	}
	if err := require(c, "repo"); err != nil {
		return err
	}
	var keys *signingKeys
	if !opts.FilesOnly && !opts.DryRun {
		if keys, err = openSigningKeys(c); err != nil {
			return err
		}
		opts.Keys = keys
	}
	repo, err := openRepo(c, v)
	if err != nil {
		return err
	}
	bars := &bars{}
	opts.Progress = bars.progress(v, "prune (files)")
	result, err := signWith(c, keys, func() (*repository.Pruned, error) { return repo.Prune(c.Context, opts) })
	bars.close()
	if err != nil {
		return err
	}
	return v.print(c, result, func(w io.Writer) { pruneText(w, result, v.now(), opts.Grace) })
}

func pruneText(w io.Writer, r *repository.Pruned, now time.Time, grace time.Duration) {
	if len(r.Releases) == 0 && len(r.Files) == 0 {
		fmt.Fprintln(w, "nothing to do: everything is needed, or too new")
		return
	}
	took, removed := "took out of the metadata", "removed"
	if r.DryRun {
		took, removed = "would take out of the metadata", "would remove"
	}
	var bytes int64
	for _, release := range r.Releases {
		fmt.Fprintf(w, "%s: release %s (%s), %d bytes\n", took, release.Version, release.Arch, release.Bytes)
		bytes += release.Bytes
	}
	if r.DryRun {
		for _, f := range r.Files {
			fmt.Fprintf(w, "%s: %s, %d bytes\n", removed, f.Name, f.Bytes)
		}
	}
	fmt.Fprintf(w, "%s %d files, %d bytes\n", removed, len(r.Files), r.Bytes)
	if len(r.Releases) > 0 && grace > 0 {
		fmt.Fprintf(w, "up to %d bytes more go with the first prune after %s\n", bytes, now.Add(grace).UTC().Format(time.RFC3339))
	}
}
