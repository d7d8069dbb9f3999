package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"tufboot/grub"
	"tufboot/image"
	"tufboot/internal/console"
)

func locateCommand() *cli.Command {
	return &cli.Command{
		Name:      "locate",
		Usage:     "print the device of a partition of the boot disk, for init scripts",
		ArgsUsage: "efi|a|b|data|disk",
		Description: `The boot disk is the one that GRUB was loaded from, so that another disk with the
same labels is never mistaken for it.

Examples:

   mount "$(agent locate data)" /data`,
		Flags: commonFlags(),
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return console.Usagef("name one of efi, a, b, data, disk; see `agent locate --help`")
			}
			s, err := openSession(c)
			if err != nil {
				return err
			}
			s.confine()
			return locate(c.Context, c, s)
		},
	}
}

func locate(_ context.Context, c *cli.Context, s *session) error {
	disk, err := s.findDisk()
	if err != nil {
		return err
	}
	p, err := named(disk, c.Args().First())
	if err != nil {
		return err
	}
	return print(c, p, p.Device)
}

func named(d *image.Disk, name string) (image.Partition, error) {
	switch strings.ToLower(name) {
	case "disk":
		return image.Partition{Device: d.Device}, nil
	case "efi":
		return d.EFI, nil
	case "a":
		return d.Slot(grub.SlotA), nil
	case "b":
		return d.Slot(grub.SlotB), nil
	case "data":
		return d.Data, nil
	}
	return image.Partition{}, console.Usagef("%q: name one of efi, a, b, data, disk", name)
}
