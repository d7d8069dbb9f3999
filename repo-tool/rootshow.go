package main

import (
	"io"

	"github.com/urfave/cli/v2"
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
			"repo-tool root show event.json --trusted-root my-root.json --trusted-targets 3.targets.json --json"),
		Flags:  trustedFlags(),
		Action: runRootShow,
	}
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
