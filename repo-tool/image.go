package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/image/build"
	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func imageCommand() *cli.Command {
	return &cli.Command{
		Name:  "image",
		Usage: "build a bootable disk with a first release",
		Description: examples(`Makes a disk image that boots on UEFI and BIOS, with the release in both slots
and, on DATA, tufboot/root.json and tufboot/agent.yaml for an initramfs that
does not bring its own. It needs no root. Give the release the same arguments as
publish, and the node knows it as the published one.`,
			"repo-tool image --root repo/metadata/1.root.json --version 1.4.0 --kernel vmlinuz \\",
			"     --initramfs initrd.img --config agent.yaml -o disk.img",
			"repo-tool image --root root.json --version 1 --kernel k --initramfs i --size 8G -o disk.img"),
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "root", Usage: "the root.json `FILE` that the node trusts"},
			&cli.StringFlag{Name: "config", Usage: "the agent's configuration `FILE`"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the image `FILE` to make"},
			&cli.StringFlag{Name: "size", Usage: "size `S` of the disk, such as 8G; default: what is needed"},
			&cli.StringFlag{Name: "slot-size", Usage: "size `S` of each slot; default: room for a release twice as large"},
			&cli.StringFlag{Name: "seed", Usage: "`TEXT` from which all identifiers come, for reproducible images (with SOURCE_DATE_EPOCH); each disk needs another"},
		}, releaseFlags()...),
		Action: runImage,
	}
}

func runImage(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "output", "root"); err != nil {
		return err
	}
	release, err := releaseOf(c)
	if err != nil {
		return err
	}
	opts := build.Options{
		Output:    c.String("output"),
		Kernel:    release.Kernel,
		Initramfs: release.Initramfs,
		Cmdline:   release.Cmdline,
		Arch:      release.Arch,
		Seed:      c.String("seed"),
		Time:      imageDate(v),
		Logger:    v.logger,
	}
	if opts.Manifest, opts.Beside, err = repository.Manifest(c.Context, release); err != nil {
		return err
	}
	if opts.Data, err = dataFiles(c); err != nil {
		return err
	}
	if opts.Size, err = parseSize(c.String("size")); err != nil {
		return err
	}
	if opts.SlotSize, err = parseSize(c.String("slot-size")); err != nil {
		return err
	}
	result, err := build.Build(c.Context, opts)
	if err != nil {
		return err
	}
	return v.print(c, result, func(w io.Writer) { imageText(w, result) })
}

// imageDate is the date of everything in the image. SOURCE_DATE_EPOCH sets it
// for reproducible builds (https://reproducible-builds.org/specs/source-date-epoch).
func imageDate(v common) time.Time {
	if epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(epoch, 0).UTC()
	}
	return v.now()
}

// dataFiles reads what goes on DATA, after checking that it can be a root.
func dataFiles(c *cli.Context) (map[string][]byte, error) {
	data := make(map[string][]byte)
	root, err := os.ReadFile(c.String("root"))
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	if err := repository.CheckRoot(root); err != nil {
		return nil, fmt.Errorf("root %s: %w", c.String("root"), err)
	}
	data["tufboot/root.json"] = root
	if path := c.String("config"); path != "" {
		if data["tufboot/agent.yaml"], err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
	}
	return data, nil
}

func imageText(w io.Writer, r *build.Result) {
	fmt.Fprintf(w, "built %s, %d bytes, boots on %s\n", r.Output, r.Size, strings.Join(r.Firmware, ", "))
	for _, p := range r.Partitions {
		fmt.Fprintf(w, "%d  %-10s %12d bytes at %d\n", p.Number, p.Name, p.Size, p.Start)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
}

// parseSize reads a number of bytes with an optional K, M, G or T (powers of
// 1024). The empty text is 0, the default.
func parseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	digits, shift := text, 0
	if i := slices.Index([]byte("KMGT"), text[len(text)-1]); i >= 0 {
		digits, shift = text[:len(text)-1], 10*(i+1)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return 0, console.Usagef("size %q: use a number with K, M, G or T, such as 8G", text)
	}
	return n << shift, nil
}
