package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/agent/update"
	"tufboot/agent/watchdog"
)

// watchdogMargin is how much longer than the health gate a watchdog waits: for the boot
// up to the gate, for locks, and for a reboot in good order. It is above the deadline
// of tufboot-trial-deadline.timer.
const watchdogMargin = 20 * time.Minute

func watchdogCommand() *cli.Command {
	return &cli.Command{
		Name:  "watchdog",
		Usage: "arm a hardware watchdog for a trial boot, until the trial is decided",
		Description: `A machine that hangs is reset by the watchdog, and GRUB counts that. The command
stays, and keeps the watchdog from biting until the trial is committed or
watchdog.limit has passed; so start it early, in the background. On a committed
boot, and where no device is configured, it ends at once.

Examples:

   agent watchdog &                          # early in /init
   agent watchdog --device /dev/watchdog0`,
		Flags:  commonFlags(&cli.StringFlag{Name: "device", Usage: "watchdog `DEVICE` (default: watchdog.device)"}),
		Action: verb(armWatchdog),
	}
}

func armWatchdog(ctx context.Context, c *cli.Context, s *session) error {
	w := s.cfg.Watchdog
	if c.IsSet("device") {
		w.Device = c.String("device")
	}
	if s.booted.Try == 0 || w.Device == "" {
		s.log.Info("no watchdog is armed", "trial_boot", s.booted.Try, "device", w.Device)
		return nil
	}
	return watchdog.Run(ctx, watchdog.Options{
		Device: w.Device, Timeout: w.Timeout, Limit: w.Limit, Logger: s.log,
		Decided: filepath.Join(s.cfg.RunDir, update.TrialDecided),
	})
}
