package main

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func mirrorCommand() *cli.Command {
	return &cli.Command{
		Name:  "mirror",
		Usage: "copy and verify a repository to another place",
		Description: examples(`Copies what is new since the last time, verified from the root that the
destination has, or from --root. Nodes that read the destination meanwhile see the
old state or the new one. It needs no keys; run it from a scheduler. A source that
is older than the destination is refused (source-is-older), and one with other
content under the same version (forked).

When it starts an empty destination without --root, it trusts the source.`,
			"repo-tool mirror --from https://example.org/os --to /srv/mirror --root root.json",
			"repo-tool mirror --from repo --to 's3://bucket/os?region=eu-central-1'",
			"repo-tool mirror --from repo --to /srv/mirror --full"),
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "the `PLACE` to copy: a folder, a bucket, or the address of a web server"},
			&cli.StringFlag{Name: "to", Usage: "the `PLACE` to copy to: a folder or a bucket"},
			&cli.BoolFlag{Name: "full", Usage: "look at every file at the destination, not only at what is new: mends one that has lost files"},
			waitFlag(),
		}, sourceFlags()...),
		Action: runMirror,
	}
}

// sourceFlags are the flags of commands that copy from a repository.
func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "root", Usage: "trust the root.json in `FILE`"},
		&cli.BoolFlag{Name: "allow-expired", Usage: "copy metadata although nodes refuse it for its age"},
	}
}

// trustedRoot returns the root that --root names, nil without.
func trustedRoot(c *cli.Context) ([]byte, error) {
	path := c.String("root")
	if path == "" {
		return nil, nil
	}
	root, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	return root, nil
}

func runMirror(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "from", "to"); err != nil {
		return err
	}
	opts := repository.MirrorOptions{Options: v.options(), AllowExpired: c.Bool("allow-expired"), Full: c.Bool("full")}
	if opts.Root, err = trustedRoot(c); err != nil {
		return err
	}
	from, err := openReader(c, "from")
	if err != nil {
		return err
	}
	to, err := openStore(c, "to")
	if err != nil {
		return err
	}
	if err := checkOutput("to", c.String("to"), c.String("from")); err != nil {
		return err
	}
	if bundle, err := repository.ReadBundled(c.Context, from); err == nil && bundle != nil {
		return &repository.RefusedError{
			Reason: repository.ReasonBundle,
			Advice: "copy its files as they are, or mirror the repository that it was made from",
			Err:    fmt.Errorf("%s is a bundle: it holds what the nodes of channel %s need, and no more", from, bundle.Channel),
		}
	}
	bars := &bars{}
	opts.Progress = bars.progress(v, "mirror")
	result, err := whenFree(c, func() (*repository.Mirrored, error) { return repository.Mirror(c.Context, from, to, opts) })
	bars.close()
	if err != nil {
		return err
	}
	return v.print(c, result, func(w io.Writer) { mirrorText(w, result) })
}

func mirrorText(w io.Writer, r *repository.Mirrored) {
	switch {
	case !r.Changed && r.Targets > 0:
		fmt.Fprintf(w, "mended %s: %d targets, %d bytes\n", r.To, r.Targets, r.Bytes)
	case !r.Changed:
		fmt.Fprintf(w, "nothing to do: %s shows timestamp version %d\n", r.To, r.Versions.Timestamp)
	default:
		fmt.Fprintf(w, "mirrored to %s: %d new targets, %d bytes, root version %d, timestamp version %d\n",
			r.To, r.Targets, r.Bytes, r.Versions.Root, r.Versions.Timestamp)
	}
}

// progress returns a function that shows one bar, nil where none is to be seen.
func (b *bars) progress(v common, label string) func(done, total int64) {
	if v.json || !console.IsTerminal(os.Stderr) {
		return nil
	}
	return func(done, total int64) { b.show(label, done, total) }
}
