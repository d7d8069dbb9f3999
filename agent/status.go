package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/metadata/client"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show what runs, what boots next, and what failed",
		Description: `Reads the node and asks no server. Writes nothing.

Examples:

   agent status
   agent status --json | jq .situation`,
		Flags:  commonFlags(),
		Action: verb(status),
	}
}

func status(_ context.Context, c *cli.Context, s *session) error {
	n, err := s.node()
	if err != nil {
		return err
	}
	st, err := n.Status()
	if err != nil {
		return err
	}
	if root, err := os.ReadFile(s.cfg.Root); err == nil && s.cfg.Server != "" {
		if opts, err := s.clientOptions(); err == nil {
			opts.Root = root
			if trust, err := client.LocalTrust(opts); err == nil {
				st.Metadata = &trust
			}
		}
	}
	return print(c, st, statusText(st))
}

func statusText(st update.Status) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("situation", "%s", st.Situation)
	row("booted slot", "%s", bootedText(st.Booted))
	if boot := st.Boot; boot != nil {
		row("active slot", "%s", activeText(boot))
	}
	for _, slot := range []grub.Slot{grub.SlotA, grub.SlotB} {
		row("slot "+string(slot), "%s", slotText(st, slot))
	}
	row("disk", "%s", st.Disk.Device)
	row("channel", "%s", st.Channel)
	if st.Staged != nil && st.Trial == nil {
		row("staged", "release %s in slot %s, waits for `agent activate`", st.Staged.Version, st.Staged.Slot)
	}
	if st.Trial != nil {
		row("trial", "release %s in slot %s%s", st.Trial.Version, st.Trial.Slot, givenBackText(st.Trial))
	}
	if check := st.LastCheck; check != nil {
		row("last check", "%s: %s", check.At.Format(time.RFC3339), checkText(check))
		for _, text := range []string{stepText(check.Final), turnText(check.Turn), windowText(check.Window)} {
			if text != "" {
				row("", "%s", text)
			}
		}
	}
	if m := st.Metadata; m != nil {
		row("metadata", "%s", heldText("root", m.Root))
		row("", "%s", heldText("timestamp", m.Timestamp))
		row("", "%s", heldText("snapshot", m.Snapshot))
		row("", "%s", heldText("targets", m.Targets))
	}
	for _, f := range st.Failed {
		row("failed", "release %s (%s) at %s: %s", f.Version, f.Release.Short(), f.At.Format(time.RFC3339), f.Why)
	}
	for _, alarm := range st.Alarms {
		row("ALARM", "%s", alarm)
	}
	w.Flush()
	return strings.TrimRight(b.String(), "\n")
}

func bootedText(b update.BootedStatus) string {
	switch {
	case b.Slot == "":
		return "unknown (not booted by tufboot)"
	case b.Try > 0:
		return fmt.Sprintf("%s (trial boot %d of %d)", b.Slot, b.Try, grub.Attempts)
	}
	return string(b.Slot)
}

func activeText(b *update.BootStatus) string {
	if b.Success {
		return fmt.Sprintf("%s (committed)", b.Active)
	}
	return fmt.Sprintf("%s (trial, %d boots left)", b.Active, b.Counter)
}

func slotText(st update.Status, slot grub.Slot) string {
	held := st.Slots[slot]
	text := held.Problem
	if held.ID != "" {
		text = fmt.Sprintf("release %s (%s)", held.Version, held.ID.Short())
	}
	if boot := st.Boot; boot != nil {
		bootable := map[grub.Slot]bool{grub.SlotA: boot.AOK, grub.SlotB: boot.BOK}
		if !bootable[slot] {
			text += ", not bootable"
		}
	}
	return text
}

// givenBackText explains why a trial has had more boots than were counted.
func givenBackText(t *update.Trial) string {
	if t.GivenBack == 0 {
		return ""
	}
	return fmt.Sprintf("; %d of its boots ended by a clean reboot and are not counted (%d at most)", t.GivenBack, grub.MaxGiveBacks)
}

func checkText(c *update.LastCheck) string {
	if c.Text != "" {
		return c.Reason + ": " + c.Text
	}
	return c.Reason + ", release " + c.Version
}

func heldText(role string, h client.Held) string {
	switch {
	case h.Version == 0:
		return role + ": none yet"
	case h.Expired:
		return fmt.Sprintf("%s: version %d, EXPIRED %s", role, h.Version, h.Expires.Format(time.RFC3339))
	}
	return fmt.Sprintf("%s: version %d, until %s", role, h.Version, h.Expires.Format(time.RFC3339))
}
