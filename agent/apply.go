package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"
)

func applyCommand() *cli.Command {
	return &cli.Command{
		Name:  "apply",
		Usage: "write the release into the inactive slot and verify it there",
		Description: `What an earlier run was cut off in is gone on with. The running release and what
boots next are not touched; ` + "`agent activate`" + ` arms the slot.

Examples:

   agent apply
   agent apply --release 1.4.2
   agent apply --now                # before this node's turn in a rollout
   agent apply --disk /dev/sda --booted-slot none   # from a rescue system`,
		Flags:  commonFlags(releaseFlag(), nowFlag(), noDeltaFlag(), bandwidthFlag(), lockFlag()),
		Action: verb(apply),
	}
}

func apply(ctx context.Context, c *cli.Context, s *session) error {
	n, done, err := s.updater()
	if err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		p, err := n.Apply(ctx, c.String("release"))
		done()
		if err != nil {
			return err
		}
		text := upToDate(p)
		if p.Install {
			text = fmt.Sprintf("release %s (%s) is in slot %s, verified; `agent activate` arms it", p.Version, p.Release.Short(), p.Slot)
		}
		return print(c, p, text)
	})
}
