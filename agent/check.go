package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"tufboot/agent/update"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "say what an update would do, and why or why not",
		Description: `Refreshes the signed metadata and compares the channel's release with what runs.
Writes nothing but the metadata cache.

Examples:

   agent check
   agent check --json
   agent check --release 1.4.2`,
		Flags:  commonFlags(releaseFlag(), lockFlag()),
		Action: verb(check),
	}
}

func releaseFlag() cli.Flag {
	return &cli.StringFlag{Name: "release", Usage: "this `VERSION` instead of the channel's, also if it failed before", EnvVars: []string{"TUFBOOT_RELEASE"}}
}

func check(ctx context.Context, c *cli.Context, s *session) error {
	n, done, err := s.updater()
	if err != nil {
		return err
	}
	defer done()
	return s.locked(ctx, func() error {
		p, err := n.Check(ctx, c.String("release"))
		if err != nil {
			return err
		}
		text := upToDate(p)
		if p.Install {
			text = fmt.Sprintf("release %s (%s, %d bytes) is available; an update would write it into slot %s", p.Version, p.Release.Short(), p.Size, p.Slot)
		}
		return print(c, p, text)
	})
}

func upToDate(p update.Plan) string {
	return fmt.Sprintf("up to date: release %s (%s) is running", p.Version, p.Release.Short())
}
