package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"tufboot/agent/update"
	"tufboot/internal/console"
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
			return s.stillArmed(ctx, err)
		}
		text := fmt.Sprintf("slot %s with release %s is armed; its trial starts with the next boot", staged.Slot, staged.Version)
		return s.startTrial(ctx, "release "+staged.Version+" is armed in slot "+string(staged.Slot), func() error {
			return print(c, staged, text)
		})
	})
}

// startTrial reboots, or tells whoever coordinates reboots. The sentinel comes
// before the words for the user: a broken pipe must not keep the reboot away.
func (s *session) startTrial(ctx context.Context, why string, say func() error) error {
	if s.cli.Bool("reboot") {
		// The slot is armed: a signal that comes now comes too late.
		return errors.Join(say(), update.Reboot(context.WithoutCancel(ctx), s.cfg.Reboot.Command))
	}
	if s.cfg.Reboot.Sentinel != "" {
		if err := update.LeaveSentinel(s.cfg.Reboot.Sentinel, why); err != nil {
			return errors.Join(say(), err)
		}
	}
	return say()
}

// stillArmed asks once more for a reboot that was asked for and did not happen:
// the run that armed the slot may have been cut off before it could.
func (s *session) stillArmed(ctx context.Context, err error) error {
	if console.ReasonCode(err) != update.ReasonRebootPending {
		return err
	}
	return s.startTrial(ctx, err.Error(), func() error { return err })
}
