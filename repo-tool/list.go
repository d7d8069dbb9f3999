package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

func listCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "show the published releases and the channels that point to them",
		Description: examples("Lists releases by version; of a bundle, those that it holds. It needs no keys.",
			"repo-tool list --repo repo",
			"repo-tool list --repo repo --json"),
		Flags:  []cli.Flag{repoFlag()},
		Action: runList,
	}
}

func runList(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	repo, err := openRepo(c, v)
	if err != nil {
		return err
	}
	releases, err := repo.List(c.Context)
	if err != nil {
		return err
	}
	bundle, err := repo.Bundled(c.Context)
	if err != nil {
		return err
	}
	if bundle != nil {
		v.logger.Warn("this is a bundle: it holds what the nodes of one channel need, and no more", "channel", bundle.Channel)
	}
	return v.print(c, releases, func(w io.Writer) {
		if len(releases) == 0 {
			fmt.Fprintln(w, "no releases")
			return
		}
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "VERSION\tARCH\tIDENTITY\tBYTES\tCHANNELS")
		for _, r := range releases {
			channels := strings.Join(r.Channels, ",")
			if channels == "" {
				channels = "-"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\n", r.Version, r.Arch, r.ID.Short(), r.Size, channels)
		}
		table.Flush()
	})
}
