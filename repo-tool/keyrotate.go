package main

import (
	"slices"

	"github.com/urfave/cli/v2"
)

func keyRotateCommand() *cli.Command {
	return &cli.Command{
		Name:  "rotate",
		Usage: "replace a key of a role by another",
		Description: examples(`Removes a key from a role and adds another, signs that, and publishes it, in one
step; see key add for the private keys that it needs. Of the role itself, it needs
the new key; with the old one, if it is not lost, clients are served at every
moment.`,
			"repo-tool key rotate --repo repo --role timestamp --key 3fa9 --public timestamp-2.pub --keys /media/usb1 --keys /media/usb2 --keys online-keys"),
		Flags: slices.Concat([]cli.Flag{repoFlag(), roleFlag(), keyFlag("remove"), publicFlag("add"), thresholdFlag()}, lockingFlags()),
		Action: func(c *cli.Context) error {
			return runKeyChange(c, "key", "public")
		},
	}
}
