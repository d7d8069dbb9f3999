package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"
)

func updateCommand() *cli.Command {
	return &cli.Command{
		Name:  "update",
		Usage: "bring this node to its channel's release: check, apply, activate",
		Description: `Does nothing, and ends with 0, where the release runs already. Without --reboot
it leaves the reboot sentinel for whoever coordinates reboots.

Examples:

   agent update --reboot
   agent update --json --lock-wait 5m
   agent update --release 1.4.2     # by name, also if it failed before`,
		Flags:  commonFlags(releaseFlag(), rebootFlag(), lockFlag()),
		Action: verb(runUpdate),
	}
}

func runUpdate(ctx context.Context, c *cli.Context, s *session) error {
	n, done, err := s.updater()
	if err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		p, err := n.Update(ctx, c.String("release"))
		done()
		if err != nil {
			return err
		}
		if !p.Install {
			return print(c, p, upToDate(p))
		}
		text := fmt.Sprintf("release %s (%s) is in slot %s, verified and armed; its trial starts with the next boot", p.Version, p.Release.Short(), p.Slot)
		if err := print(c, p, text); err != nil {
			return err
		}
		return s.startTrial(ctx, "release "+p.Version+" is armed in slot "+string(p.Slot))
	})
}
