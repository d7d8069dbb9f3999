package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/internal/pause"
)

func updateCommand() *cli.Command {
	return &cli.Command{
		Name:  "update",
		Usage: "bring this node to its channel's release: check, apply, activate",
		Description: `Does nothing, and ends with 0, where the release runs already. Without --reboot
it leaves the reboot sentinel for whoever coordinates reboots.

A channel may give a release to some nodes first, and name releases to go through
on the way. A node whose turn has not come is refused with rollout-not-yet.

Examples:

   agent update --reboot
   agent update --json --lock-wait 5m
   agent update --refusal-ok trial-pending,reboot-pending,locked,rollout-not-yet   # in a scheduled job
   agent update --now               # before this node's turn
   agent update --release 1.4.2     # by name, also if it failed before`,
		Flags: commonFlags(releaseFlag(), nowFlag(), rebootFlag(), noDeltaFlag(), bandwidthFlag(), lockFlag(), splayFlag(),
			&cli.StringFlag{Name: "refusal-ok", Usage: "end with 0 when refused for one of these `REASONS` (codes with commas between)", EnvVars: []string{"TUFBOOT_REFUSAL_OK"}}),
		Action: verb(func(ctx context.Context, c *cli.Context, s *session) error {
			err := runUpdate(ctx, c, s)
			if !refusalAllowed(err, c.String("refusal-ok")) {
				return err
			}
			reason := console.ReasonCode(err)
			return print(c, refused{Refused: reason, Text: err.Error()}, fmt.Sprintf("nothing done (%s): %v", reason, err))
		}),
	}
}

// refused is what an allowed refusal prints as JSON.
type refused struct {
	Refused string `json:"refused"` // the reason code
	Text    string `json:"text"`
}

// refusalAllowed reports whether err is a refusal for one of the reasons in a
// list with commas. Other failures are never allowed, whatever the list says.
func refusalAllowed(err error, reasons string) bool {
	return console.ExitCode(err) == console.ExitRefused &&
		slices.Contains(strings.FieldsFunc(reasons, func(r rune) bool { return r == ',' || r == ' ' }), console.ReasonCode(err))
}

func runUpdate(ctx context.Context, c *cli.Context, s *session) error {
	if err := splay(ctx, c.Duration("splay"), s.log, pause.For); err != nil {
		return err
	}
	n, done, err := s.updater()
	if err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		p, err := n.Update(ctx, c.String("release"))
		done()
		if err != nil {
			return s.stillArmed(ctx, err)
		}
		if !p.Install {
			return print(c, p, upToDate(p))
		}
		text := fmt.Sprintf("release %s (%s) is in slot %s, verified and armed; its trial starts with the next boot", p.Version, p.Release.Short(), p.Slot)
		return s.startTrial(ctx, "release "+p.Version+" is armed in slot "+string(p.Slot), func() error {
			return print(c, p, text)
		})
	})
}
