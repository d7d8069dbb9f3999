package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"tufboot/metadata/repository"
)

func rootPublishCommand() *cli.Command {
	return &cli.Command{
		Name:      "publish",
		Usage:     "make a signed event what clients see",
		ArgsUsage: "EVENT",
		Description: examples(`Checks that enough of the old and of the new keys have signed, and that the event
starts from what is published now. Then it signs snapshot and timestamp, and what
else must be signed by other keys than before, and publishes all of it in one
step for clients. It needs the keys of snapshot and timestamp; if these are among
those that change, the new ones, and the old ones too if they are still there:
then clients are served at every moment.

Should it be cut short, run it again. An event made with root propose --new makes
the repository.`,
			"repo-tool root publish event.json --repo repo --keys online-keys",
			"repo-tool root publish event.json --repo repo --keys new-keys --keys old-keys"),
		Flags:  append([]cli.Flag{repoFlag()}, lockingFlags()...),
		Action: runRootPublish,
	}
}

func runRootPublish(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "repo"); err != nil {
		return err
	}
	_, event, err := oneEvent(c)
	if err != nil {
		return err
	}
	keys, err := openSigningKeys(c)
	if err != nil {
		return err
	}
	result, err := signWith(c, keys, func() (*repository.EventPublished, error) { return publishEvent(c, v, event, keys) })
	if err != nil {
		return err
	}
	return v.print(c, result, func(w io.Writer) { printPublished(w, result) })
}

func publishEvent(c *cli.Context, v common, event *repository.Event, keys repository.Signers) (*repository.EventPublished, error) {
	if event.New() {
		store, err := openStore(c, "repo")
		if err != nil {
			return nil, err
		}
		result, err := repository.CreateFromEvent(c.Context, store, event, keys, v.options())
		if err != nil {
			return nil, err
		}
		for _, dir := range c.StringSlice("keys") {
			if err := pinRoot(c.Context, dir, store); err != nil {
				return nil, err
			}
		}
		return result, nil
	}
	repo, err := openRepo(c, v)
	if err != nil {
		return nil, err
	}
	return repo.PublishEvent(c.Context, event, keys)
}

func printPublished(w io.Writer, p *repository.EventPublished) {
	if !p.Changed {
		fmt.Fprintln(w, "nothing to do: this event is published")
		return
	}
	fmt.Fprintf(w, "signed and published: %s\n", strings.Join(p.Written, ", "))
	fmt.Fprintf(w, "now: root version %d, targets version %d, snapshot version %d, timestamp version %d\n",
		p.Versions.Root, p.Versions.Targets, p.Versions.Snapshot, p.Versions.Timestamp)
}
