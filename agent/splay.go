package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
)

// splayFlag spreads the runs of many nodes whose schedules are the same.
func splayFlag() cli.Flag {
	return &cli.DurationFlag{Name: "splay", Usage: "begin after a random part of so `LONG`, so that a fleet does not ask at once", EnvVars: []string{"TUFBOOT_SPLAY"}}
}

// splay waits for a random time below most, with wait. Nothing is held meanwhile:
// neither the lock nor a connection.
func splay(ctx context.Context, most time.Duration, log *slog.Logger, wait func(context.Context, time.Duration) error) error {
	if most < 0 {
		return console.Usagef("--splay %v: give a duration, such as 30m", most)
	}
	if most == 0 {
		return nil
	}
	d := rand.N(most) //nolint:gosec // spreading needs no secrecy
	log.Info("waiting before the update, so that a fleet does not ask at once", "for", d.Round(time.Second), "at_most", most)
	return wait(ctx, d)
}
