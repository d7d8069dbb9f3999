package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// setDefaultTexts shows in the help 24h, not 24h0m0s, and that a number which is
// not given is none, not 0.
func setDefaultTexts(flags []cli.Flag) {
	for _, flag := range flags {
		switch f := flag.(type) {
		case *cli.DurationFlag:
			f.DefaultText = "none"
			if f.Value != 0 {
				f.DefaultText = durationText(f.Value)
			}
		case *cli.IntFlag:
			if f.Value == 0 {
				f.DefaultText = "none"
			}
		case *cli.Int64Flag:
			if f.Value == 0 {
				f.DefaultText = "none"
			}
		}
	}
}

// explainValue adds to the library's "parse error" how a duration is written.
func explainValue(c *cli.Context, err error) error {
	if c.Command == nil {
		return err
	}
	for _, flag := range c.Command.Flags {
		if f, ok := flag.(*cli.DurationFlag); ok && strings.Contains(err.Error(), "for flag -"+f.Name+":") {
			return fmt.Errorf("%w: write hours, minutes and seconds, such as 168h, 90m or 1h30m; there are no days", err)
		}
	}
	return err
}
