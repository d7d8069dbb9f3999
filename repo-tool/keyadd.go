package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func keyAddCommand() *cli.Command {
	return &cli.Command{
		Name:  "add",
		Usage: "let a role be signed by another key too",
		Description: examples(`Adds a public key to a role, signs that, and publishes it, in one step. The
private keys that must sign it must be at hand: those of root, for the roles root,
targets, snapshot and timestamp; those of targets, for the others. Where their
holders sign apart, use root propose.

A role channel-NAME that is not there is made: then the channel has keys of its
own, and its private keys are needed too.`,
			"repo-tool key add --repo repo --role root --public dana.pub --threshold 3 --keys /media/usb1 --keys /media/usb2 --keys online-keys",
			"repo-tool key add --repo repo --role channel-stable --public stable.pub --keys targets-keys --keys stable-keys --keys online-keys"),
		Flags: slices.Concat([]cli.Flag{repoFlag(), roleFlag(), publicFlag("add"), thresholdFlag()}, lockingFlags()),
		Action: func(c *cli.Context) error {
			return runKeyChange(c, "public")
		},
	}
}

func roleFlag() cli.Flag {
	return &cli.StringFlag{Name: "role", Usage: "`ROLE` that the key signs: root, targets, snapshot, timestamp, channels, releases (publish: these two) or channel-NAME"}
}

func publicFlag(to string) cli.Flag {
	return &cli.StringSliceFlag{Name: "public", Usage: "public key to " + to + ", `FILE`.pub; can be given several times"}
}

func thresholdFlag() cli.Flag {
	return &cli.IntFlag{Name: "threshold", Usage: "how many of its keys `N` must sign the role from now on"}
}

// runKeyChange is key add, key remove and key rotate, which differ in the flags
// that they need.
func runKeyChange(c *cli.Context, needed ...string) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, append([]string{"repo", "role"}, needed...)...); err != nil {
		return err
	}
	roles, err := keyEdits(c)
	if err != nil {
		return err
	}
	repo, keys, err := openToSign(c, v)
	if err != nil {
		return err
	}
	result, err := signWith(c, keys, func() (*repository.KeysChanged, error) {
		return repo.ChangeKeys(c.Context, repository.ProposeOptions{Roles: roles}, keys)
	})
	if err != nil {
		return err
	}
	return v.print(c, result, func(w io.Writer) {
		result.Changes.WriteText(w)
		fmt.Fprintln(w)
		printPublished(w, result.Published)
	})
}

func keyEdits(c *cli.Context) (edits, error) {
	e := make(edits)
	var err error
	e.edit(c.String("role"), func(edit *repository.RoleEdit) {
		edit.Threshold = c.Int("threshold")
		for _, path := range c.StringSlice("public") {
			if err == nil {
				err = addKey(edit, path)
			}
		}
		for _, key := range c.StringSlice("key") {
			if err == nil {
				err = removeKey(edit, key)
			}
		}
	})
	if c.IsSet("threshold") && c.Int("threshold") == 0 { // 0 is "as it is" for the library
		err = console.Usagef("threshold 0: use a number from 1 on")
	}
	return e, err
}
