package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "read the whole repository as a client would",
		Description: examples(`Runs a real TUF client (go-tuf) over the repository, from root version 1 or from
--root, then reads every target and compares its length and hash, and follows
channels and manifests. It needs no keys.`,
			"repo-tool verify --repo repo",
			"repo-tool verify --repo mirror --root root.json"),
		Flags: []cli.Flag{
			repoFlag(),
			&cli.StringFlag{Name: "root", Usage: "start from the root in `FILE`, as nodes do"},
		},
		Action: runVerify,
	}
}

func runVerify(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "repo"); err != nil {
		return err
	}
	opts := repository.VerifyOptions{Options: v.options()}
	if path := c.String("root"); path != "" {
		if opts.Root, err = os.ReadFile(path); err != nil {
			return fmt.Errorf("root: %w", err)
		}
	}
	from, err := storage.OpenReader(c.Context, c.String("repo"))
	if err != nil {
		return err
	}
	bars := &bars{}
	if !v.json && console.IsTerminal(os.Stderr) {
		opts.Progress = func(done, total int64) { bars.show("verify", done, total) }
	}
	result, err := repository.Verify(c.Context, from, opts)
	bars.close()
	if err != nil {
		return err
	}
	return v.print(c, result, func(w io.Writer) {
		fmt.Fprintf(w, "verified: root version %d, %d targets, %d bytes, %d releases, channels: %s\n",
			result.RootVersion, result.Targets, result.Bytes, result.Releases, strings.Join(result.Channels, ", "))
	})
}
