package main

import (
	"slices"

	"github.com/urfave/cli/v2"
)

func keyRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:  "remove",
		Usage: "take a key from a role",
		Description: examples(`Removes a key from a role, signs that, and publishes it, in one step; see key add
for the private keys that it needs. What the removed key has signed, and nobody
else, is signed again. Refused if fewer keys than the threshold were left.`,
			"repo-tool key list --repo repo",
			"repo-tool key remove --repo repo --role root --key 3fa9 --threshold 2 --keys /media/usb1 --keys /media/usb2 --keys online-keys"),
		Flags: slices.Concat([]cli.Flag{repoFlag(), roleFlag(), keyFlag("remove"), thresholdFlag()}, lockingFlags()),
		Action: func(c *cli.Context) error {
			return runKeyChange(c, "key")
		},
	}
}

func keyFlag(to string) cli.Flag {
	return &cli.StringSliceFlag{Name: "key", Usage: "key to " + to + ": its `ID` or the beginning of it, or FILE.pub; can be given several times"}
}
