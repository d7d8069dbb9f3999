package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"tufboot/metadata/repository"
)

func rootSignCommand() *cli.Command {
	return &cli.Command{
		Name:      "sign",
		Usage:     "sign an event, after showing what it changes",
		ArgsUsage: "EVENT",
		Description: examples(`Shows what the event changes, asks whether to sign it, and adds signatures by
those of the keys that may sign it. It needs no network and no repository: the
machine can stay apart from everything. The file is written in place, or to
--out. Signing again replaces the signature.

What was signed last is written down beside the keys, in signed.json. An event that
starts from an older state is refused: published, it would undo what was agreed on
since. --trusted-root and --trusted-targets do the same for what you have seen but
not signed, and refuse an event that was made for another repository.`,
			"repo-tool root sign event.json --keys my-keys",
			"repo-tool root sign /media/usb/event.json --keys my-keys --trusted-root my-root.json --trusted-targets 3.targets.json",
			"repo-tool root sign event.json --keys my-keys -o from-anna.json --yes"),
		Flags: slices.Concat([]cli.Flag{
			outFlag("`FILE` for the signed event, instead of the same"),
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.BoolFlag{Name: "unsafe-older-base", Usage: "the event that was signed last with these keys was never published, and never will be: sign one that does not start from it"},
		}, trustedFlags(), keysFlags()),
		Action: runRootSign,
	}
}

// signResult is what root sign prints.
type signResult struct {
	eventResult
	By []repository.KeyRef `json:"by"`
}

func runRootSign(c *cli.Context) error {
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
	keys, err := openKeys(c)
	if err != nil {
		return err
	}
	if err := checkSigned(c, event); err != nil {
		return err
	}
	out := c.App.Writer
	if v.json {
		out = c.App.ErrWriter // the result alone goes to the output
	}
	event.Changes().WriteText(out)
	fmt.Fprintln(out)
	if err := confirm(c, "Do you want to sign this?"); err != nil {
		return err
	}
	by, err := event.Sign(c.Context, keys)
	if err != nil {
		return err
	}
	// The note is first: a signature that is out must be remembered.
	if err := noteSigned(c, event); err != nil {
		return err
	}
	if c.IsSet("out") {
		path = c.String("out")
	}
	if err := writeEvent(path, event); err != nil {
		return err
	}
	result := signResult{newEventResult(path, event), by}
	return v.print(c, result, func(w io.Writer) {
		for _, key := range by {
			fmt.Fprintf(w, "signed by %s key %s\n", key.Type, key.ID)
		}
		result.next(w)
	})
}
