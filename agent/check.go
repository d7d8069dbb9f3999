package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/agent/update"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "say what an update would do, and why or why not",
		Description: `Refreshes the signed metadata and compares the channel's release with what runs.
Looks at the node as an update does before it begins, and ends as an update would:
with the same exit code and reason. Writes nothing but the metadata cache, and the
node's seed for rollouts the first time that it meets one. With --json it prints the
plan also where something is in the way.

Examples:

   agent check
   agent check --json
   agent check --release 1.4.2
   agent check --now                # what an update that does not wait would do`,
		Flags:  commonFlags(releaseFlag(), nowFlag(), lockFlag()),
		Action: verb(check),
	}
}

func releaseFlag() cli.Flag {
	return &cli.StringFlag{Name: "release", Usage: "this `VERSION` instead of the channel's, also if it failed before", EnvVars: []string{"TUFBOOT_RELEASE"}}
}

func nowFlag() cli.Flag {
	return &cli.BoolFlag{Name: "now", Aliases: []string{"n"}, Usage: "wait neither for this node's turn in a rollout nor for the maintenance window", EnvVars: []string{"TUFBOOT_NOW"}}
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
			if p.Refused != "" && c.Bool("json") {
				return errors.Join(err, print(c, p, ""))
			}
			return err
		}
		return print(c, p, plannedText(p)+planText(p))
	})
}

// plannedText says what an update would do.
func plannedText(p update.Plan) string {
	text := upToDate(p)
	switch {
	case p.Install && p.Held:
		text = fmt.Sprintf("release %s (%s) is in slot %s already; an update would verify it there and arm it", p.Version, p.Release.Short(), p.Slot)
	case p.Install:
		text = fmt.Sprintf("release %s (%s, %d bytes) is available; an update would write it into slot %s", p.Version, p.Release.Short(), p.Size, p.Slot)
	}
	if p.Remade != "" {
		text += fmt.Sprintf("\nthe file system of slot %s would be made anew: %s", p.Slot, p.Remade)
	}
	for _, mend := range p.Mends {
		text += "\nfirst, an update would " + mend
	}
	return text
}

func upToDate(p update.Plan) string {
	return fmt.Sprintf("up to date: release %s (%s) is running", p.Version, p.Release.Short())
}

// planText says what the channel plans ahead, a line each.
func planText(p update.Plan) string {
	text := ""
	for _, line := range []string{stepText(p.Final), turnText(p.Turn), windowText(p.Window)} {
		if line != "" {
			text += "\n" + line
		}
	}
	return text
}

func stepText(final string) string {
	if final == "" {
		return ""
	}
	return "a step on the way to release " + final
}

func turnText(t *update.Turn) string {
	switch {
	case t == nil:
		return ""
	case t.Opens.IsZero():
		return fmt.Sprintf("rollout: %d percent of the nodes; no wave reaches this one yet", t.Percent)
	}
	return fmt.Sprintf("rollout: %d percent of the nodes; this node's turn: %s", t.Percent, t.Opens.Format(time.RFC3339))
}

func windowText(w *update.Window) string {
	if w == nil || w.Maintenance == nil {
		return ""
	}
	text := "maintenance window: closed, opens " + w.Next.Format(time.RFC3339)
	if w.Open {
		text = "maintenance window: open"
	}
	if !w.Followed {
		text += " (not followed by this node)"
	}
	return text
}
