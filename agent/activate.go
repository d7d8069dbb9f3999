package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"tufboot/agent/update"
)

func activateCommand() *cli.Command {
	return &cli.Command{
		Name:  "activate",
		Usage: "arm the slot that `agent apply` wrote: the next boot is its first trial boot",
		Description: `Examples:

   agent activate
   agent activate --reboot`,
		Flags:  commonFlags(rebootFlag(), lockFlag()),
		Action: verb(activate),
	}
}

func rebootFlag() cli.Flag {
	return &cli.BoolFlag{Name: "reboot", Usage: "reboot at once when a slot was armed (without it, the reboot sentinel is left)"}
}

func activate(ctx context.Context, c *cli.Context, s *session) error {
	n, err := s.node()
	if err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		staged, err := n.Activate(ctx)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("slot %s with release %s is armed; its trial starts with the next boot", staged.Slot, staged.Version)
		if err := print(c, staged, text); err != nil {
			return err
		}
		return s.startTrial(ctx, "release "+staged.Version+" is armed in slot "+string(staged.Slot))
	})
}

// startTrial reboots, or tells whoever coordinates reboots.
func (s *session) startTrial(ctx context.Context, why string) error {
	if s.cli.Bool("reboot") {
		return update.Reboot(ctx, s.cfg.Reboot.Command)
	}
	if s.cfg.Reboot.Sentinel == "" {
		return nil
	}
	return update.LeaveSentinel(s.cfg.Reboot.Sentinel, why)
}
