package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func rootMergeCommand() *cli.Command {
	return &cli.Command{
		Name:      "merge",
		Usage:     "join the signatures on copies of one event",
		ArgsUsage: "EVENT...",
		Description: examples(`Each signer may sign a copy of the event. This makes one of them that has all
signatures. Files that are not copies of the same event are refused.`,
			"repo-tool root merge -o event.json from-anna.json from-ben.json"),
		Flags:  []cli.Flag{outFlag("`FILE` for the event")},
		Action: runRootMerge,
	}
}

func runRootMerge(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "out"); err != nil {
		return err
	}
	if c.Args().Len() == 0 {
		return console.Usagef("root merge: name the events to merge; see repo-tool root merge --help")
	}
	var events []*repository.Event
	for _, path := range c.Args().Slice() {
		event, err := readEvent(path)
		if err != nil {
			return err
		}
		events = append(events, event)
	}
	merged, err := repository.MergeEvents(events...)
	if err != nil {
		return err
	}
	path := c.String("out")
	if err := mayReplace(path, merged); err != nil {
		return err
	}
	if err := writeEvent(path, merged); err != nil {
		return err
	}
	result := newEventResult(path, merged)
	return v.print(c, result, func(w io.Writer) {
		fmt.Fprintf(w, "merged %d copies of event %.12s\n", len(events), result.Changes.Event)
		result.next(w)
	})
}

// mayReplace reports whether the merged event can be written over what is there:
// another copy of it, whose signatures it has.
func mayReplace(path string, merged *repository.Event) error {
	if checkNewFile(path) == nil {
		return nil
	}
	old, err := readEvent(path)
	if err != nil {
		return &eventExists{path}
	}
	both, err := repository.MergeEvents(merged, old)
	if err != nil {
		return &eventExists{path}
	}
	a, err := merged.Encode()
	if err != nil {
		return err
	}
	b, err := both.Encode()
	if err != nil {
		return err
	}
	if string(a) != string(b) {
		return &eventExists{path}
	}
	return nil
}
