package main

import (
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"tufboot/metadata/repository"
)

func rootShowCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show what an event changes, and who has signed it",
		ArgsUsage: "EVENT",
		Description: examples(`Checks the event and shows keys in and out, thresholds, expiry, delegations and
everything else that differs from what is published, and which signatures are
there and which are needed. It needs no keys and no repository.`,
			"repo-tool root show event.json",
			"repo-tool root show event.json --trusted-root my-root.json --json"),
		Flags:  []cli.Flag{trustedRootFlag()},
		Action: runRootShow,
	}
}

func trustedRootFlag() cli.Flag {
	return &cli.StringFlag{Name: "trusted-root", Usage: "your own copy of the root.json that you trust, `FILE`: an event that does not start from it, or from a successor, is refused"}
}

// checkTrusted compares an event with the root that --trusted-root names.
func checkTrusted(c *cli.Context, event *repository.Event) error {
	if !c.IsSet("trusted-root") {
		return nil
	}
	data, err := os.ReadFile(c.String("trusted-root"))
	if err != nil {
		return err
	}
	return event.CheckTrusted(data)
}

func runRootShow(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	path, event, err := oneEvent(c)
	if err != nil {
		return err
	}
	if err := checkTrusted(c, event); err != nil {
		return err
	}
	result := newEventResult(path, event)
	return v.print(c, result, func(w io.Writer) { result.Changes.WriteText(w) })
}
