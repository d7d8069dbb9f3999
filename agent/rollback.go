package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"tufboot/agent/update"
	"tufboot/grub"
)

func rollbackCommand() *cli.Command {
	return &cli.Command{
		Name:  "rollback",
		Usage: "make the other slot active again, if it holds a whole release",
		Description: `Ends a trial, takes back an armed slot, or goes back to the release before the
committed one. The release that is left is not installed again by itself.

Examples:

   agent rollback --reboot
   agent rollback --reason "ticket 4711: camera driver"`,
		Flags: commonFlags(rebootFlag(), lockFlag(),
			&cli.StringFlag{Name: "reason", Usage: "`TEXT` that status shows later", Value: "rolled back by the operator"}),
		Action: verb(rollback),
	}
}

// rolledBack is what rollback prints as JSON.
type rolledBack struct {
	Active grub.Slot `json:"active_slot"`
	Reboot bool      `json:"reboot_needed"`
}

func rollback(ctx context.Context, c *cli.Context, s *session) error {
	n, err := s.node()
	if err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		to, err := n.Rollback(ctx, c.String("reason"))
		if err != nil {
			return s.stillArmed(ctx, err)
		}
		reboot := to != s.booted.Slot
		text := fmt.Sprintf("slot %s is active and committed", to)
		if reboot {
			text += "; reboot to run it"
		}
		say := func() error { return print(c, rolledBack{Active: to, Reboot: reboot}, text) }
		if !reboot {
			// What was armed is taken back, and with it the wish for a reboot.
			return errors.Join(say(), update.RemoveSentinel(s.cfg.Reboot.Sentinel))
		}
		return s.startTrial(ctx, "rolled back to slot "+string(to), say)
	})
}
