package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/metadata/repository"
)

func rootProposeCommand() *cli.Command {
	return &cli.Command{
		Name:  "propose",
		Usage: "write down a change of keys, thresholds or expiry, to be signed",
		Description: examples(`Makes the new root and targets metadata from what is published, and writes them as
an event for people to sign. It needs no keys and changes nothing in the
repository. With no change named it renews both: a new version and expiry.

With --new it proposes a repository that is not there yet: then every role's keys
must be given.`,
			"repo-tool root propose --repo repo -o event.json --add-key root=dana.pub --threshold root=3",
			"repo-tool root propose --repo repo -o event.json --remove-key timestamp=3fa9 --add-key timestamp=timestamp-2.pub",
			"repo-tool root propose --repo repo -o event.json --add-key channel-stable=anna.pub --add-key channel-stable=ben.pub --threshold channel-stable=2",
			"repo-tool root propose --repo repo -o renewal.json",
			"repo-tool root propose --new -o first.json --add-key root=anna.pub --add-key root=ben.pub --threshold root=2 --add-key targets=anna.pub --add-key snapshot=snapshot.pub --add-key timestamp=timestamp.pub --add-key publish=publish.pub"),
		Flags: append([]cli.Flag{
			repoFlag(),
			outFlag("`FILE` for the event"),
			&cli.BoolFlag{Name: "new", Usage: "propose a repository that is not there yet"},
		}, roleEditFlags()...),
		Action: runRootPropose,
	}
}

func runRootPropose(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "out"); err != nil {
		return err
	}
	roles, err := roleEdits(c)
	if err != nil {
		return err
	}
	path := c.String("out")
	if err := checkNewFile(path); err != nil {
		return err
	}
	event, err := proposal(c, v, repository.ProposeOptions{Roles: roles})
	if err != nil {
		return err
	}
	if err := writeEvent(path, event); err != nil {
		return err
	}
	result := newEventResult(path, event)
	return v.print(c, result, func(w io.Writer) {
		result.Changes.WriteText(w)
		fmt.Fprintln(w)
		result.next(w)
	})
}

func proposal(c *cli.Context, v common, opts repository.ProposeOptions) (*repository.Event, error) {
	if c.Bool("new") {
		return repository.ProposeNew(opts, v.now().UTC().Truncate(time.Second))
	}
	repo, err := openRepo(c, v)
	if err != nil {
		return nil, err
	}
	return repo.Propose(c.Context, opts)
}
