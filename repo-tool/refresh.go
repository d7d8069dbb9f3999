package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/metadata/repository"
)

func refreshCommand() *cli.Command {
	return &cli.Command{
		Name:  "refresh",
		Usage: "sign again what expires soon",
		Description: examples(`Signs every role's metadata that is within its window before expiry, and does
nothing outside: run it from a scheduler, daily. It needs the snapshot and
timestamp keys; root and targets are signed too where their keys are at hand,
and reported where they are due and not.

A change of keys that was cut short after its root was published is completed,
where the new keys are at hand.`,
			"repo-tool refresh --repo repo --keys online-keys --password-file pw --wait 5m",
			"repo-tool refresh --repo repo --keys online-keys --keys /media/usb/root-1 --keys /media/usb/root-2"),
		Flags: append([]cli.Flag{
			repoFlag(),
			&cli.BoolFlag{Name: "all", Usage: "sign all roles whose keys are at hand, due or not"},
		}, lockingFlags()...),
		Action: runRefresh,
	}
}

func runRefresh(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	repo, keys, err := openToSign(c, v)
	if err != nil {
		return err
	}
	result, err := signWith(c, keys, func() (*repository.Refreshed, error) {
		return repo.Refresh(c.Context, repository.RefreshOptions{Keys: keys, All: c.Bool("all")})
	})
	if err != nil {
		return err
	}
	for _, s := range result.Skipped {
		v.logger.Warn("due, but not signed", "role", s.Role, "expires", s.Expires.Format(time.RFC3339), "cause", s.Cause)
	}
	return v.print(c, result, func(w io.Writer) {
		if len(result.Signed) == 0 {
			fmt.Fprintln(w, "nothing to do: nothing expires soon")
			return
		}
		if len(result.Finished) > 0 {
			fmt.Fprintf(w, "completed a change of keys that was cut short: %s\n", strings.Join(result.Finished, ", "))
		}
		if again := result.Signed[len(result.Finished):]; len(again) > 0 {
			fmt.Fprintf(w, "signed again: %s\n", strings.Join(again, ", "))
		}
	})
}
