package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata"
	"tufboot/metadata/client"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

func bundleCommand() *cli.Command {
	return &cli.Command{
		Name:  "bundle",
		Usage: "write what the nodes of a channel need into a folder or a tar, for a USB stick",
		Description: examples(`Writes the metadata and the releases of one channel, with the steps that lead
nodes on old versions there, and tries the result as a node. A node reads the
folder, or the unpacked tar, with "server: file:///media/stick/os". It needs no
keys.

The folder must not exist, be empty, or hold an earlier bundle of the same
repository, which is brought up to date. Nodes accept the bundle until the first
part of its metadata expires, which is shown.`,
			"repo-tool bundle --repo repo --channel stable -o /media/stick/os",
			"repo-tool bundle --repo https://example.org/os --root root.json --channel stable --arch arm64 -o os.tar",
			"repo-tool bundle --repo repo --channel stable -o - | ssh gateway tar x -C /srv/os"),
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "repo", Usage: "the repository's `PLACE`: a folder, a bucket, or the address of a web server", EnvVars: []string{"REPO_TOOL_REPO"}},
			&cli.StringFlag{Name: "channel", Usage: "the channel `C`"},
			archFlag("only for the architecture `A`; else for all that there are"),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`PLACE` to write to: a folder, a file that ends in .tar, or - for a tar on the standard output"},
		}, sourceFlags()...),
		Action: runBundle,
	}
}

func runBundle(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "repo", "channel", "output"); err != nil {
		return err
	}
	opts := repository.BundleOptions{
		Options: v.options(), Channel: c.String("channel"), Arch: c.String("arch"), AllowExpired: c.Bool("allow-expired"),
	}
	if opts.Root, err = trustedRoot(c); err != nil {
		return err
	}
	from, err := openReader(c, "repo")
	if err != nil {
		return err
	}
	opts.Try = func(ctx context.Context, at storage.Reader, b *repository.Bundled) error {
		return tryBundle(ctx, at, b, opts)
	}
	if place := c.String("output"); place != "-" {
		if err := checkOutput("output", place, c.String("repo")); err != nil {
			return err
		}
	}
	bars := &bars{}
	opts.Progress = bars.progress(v, "bundle")
	result, stdout, err := writeBundle(c, from, c.String("output"), opts)
	bars.close()
	if err != nil {
		return err
	}
	out := c.App.Writer
	if stdout {
		out = c.App.ErrWriter
	}
	if v.json {
		return console.PrintJSON(out, result)
	}
	bundleText(out, result)
	return nil
}

// writeBundle writes the bundle in the form that its place asks for, and says
// whether that is the standard output.
func writeBundle(c *cli.Context, from storage.Reader, place string, opts repository.BundleOptions) (b *repository.Bundled, stdout bool, err error) {
	info, statErr := os.Stat(place)
	folder := statErr == nil && info.IsDir()
	switch {
	case place == "-":
		if f, ok := c.App.Writer.(*os.File); ok && console.IsTerminal(f) {
			return nil, true, console.Usagef("bundle: the standard output is a terminal; redirect it, or name a file")
		}
		b, err = repository.BundleStream(c.Context, from, c.App.Writer, opts)
		return b, true, err
	case strings.HasSuffix(place, ".tar") && !folder:
		b, err = repository.BundleTar(c.Context, from, place, opts)
	case statErr == nil && !folder:
		return nil, false, console.Usagef("bundle: %s is a file: name a folder, or a file that ends in .tar", place)
	default:
		b, err = repository.BundleFolder(c.Context, from, place, opts)
	}
	return b, false, err
}

func bundleText(w io.Writer, b *repository.Bundled) {
	for _, r := range b.Releases {
		step := ""
		if r.Step {
			step = ", a step to the next"
		}
		fmt.Fprintf(w, "release %s (%s)%s\n", r.Version, r.Arch, step)
	}
	fmt.Fprintf(w, "bundled channel %s: %d files, %d bytes; nodes accept it until %s\n",
		b.Channel, b.Files, b.Bytes, b.Expires.UTC().Format(time.RFC3339))
}

// tryBundle reads a bundle that was made as a node does.
func tryBundle(ctx context.Context, at storage.Reader, b *repository.Bundled, opts repository.BundleOptions) error {
	root := opts.Root
	if root == nil {
		const name, most = metadata.MetadataDir + "/1.root.json", 1 << 20
		var err error
		if root, _, err = storage.ReadFile(ctx, at, name, most); err != nil {
			return err
		}
	}
	now := opts.Now()
	if opts.AllowExpired && now.After(b.Expires) {
		now = b.Expires // what is tried is all but the age
	}
	return readBundle(ctx, at, b, bundleReader{root: root, now: now})
}

// bundleReader is a node that reads a bundle, with nothing else at hand.
type bundleReader struct {
	root         []byte
	now          time.Time
	metadataOnly bool // it downloads no payload
}

// readBundle reads all that a bundle says it holds with the nodes' own client.
func readBundle(ctx context.Context, at storage.Reader, b *repository.Bundled, as bundleReader) error {
	dir, err := os.MkdirTemp("", "tufboot-bundle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	node, err := client.New(client.Options{
		Server: "http://bundle.invalid", Root: as.root, Dir: dir, Transport: storage.Transport{From: at},
		Now: func() time.Time { return as.now },
	})
	if err == nil {
		err = node.Refresh(ctx)
	}
	for i := 0; i < len(b.Releases) && err == nil; i++ {
		err = as.release(ctx, node, b.Channel, b.Releases[i])
	}
	var answer *client.NetworkError
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound { // there is no server
		err = &repository.InvalidError{Reason: repository.ReasonBadRepository, Err: fmt.Errorf("a file is missing: %w", err)}
	}
	if err != nil {
		return fmt.Errorf("a node cannot use the bundle: %w", err)
	}
	return nil
}

func (as bundleReader) release(ctx context.Context, node *client.Client, channel string, want repository.BundleRelease) error {
	found, err := node.ReleaseByVersion(ctx, want.Version, want.Arch)
	if err == nil && !want.Step {
		found, err = node.Resolve(ctx, channel, want.Arch)
	}
	if err != nil {
		return err
	}
	if found.ID != want.ID {
		return &repository.InvalidError{Reason: repository.ReasonBadRepository, Err: fmt.Errorf(
			"it finds release %s with the identity %s, not %s", want.Version, found.ID.Short(), want.ID.Short())}
	}
	if as.metadataOnly {
		return nil
	}
	for _, a := range found.Release.Targets() {
		if err := node.Download(ctx, a, nil, io.Discard, nil); err != nil {
			return err
		}
	}
	return nil
}
