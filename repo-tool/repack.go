package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"tufboot/image/initramfs"
	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func repackCommand() *cli.Command {
	return &cli.Command{
		Name:      "repack",
		Usage:     "pack an initramfs so that nodes fetch only what changed in it",
		ArgsUsage: "INITRAMFS",
		Description: examples(`Compresses an initramfs anew, in segments that depend on their own files alone. In
one that is compressed as a whole a small change alters all that follows, and nodes
fetch all of it; of one that is packed so they fetch the segments that changed.

INITRAMFS is what a kernel boots: cpio archives one after the other, uncompressed or
in gzip, zstd, xz, lz4 or bzip2 (these three as the last one). Files keep their
order, names, modes, owners, times and contents. An early archive with microcode or
ACPI tables stays as it is. The same input gives the same bytes on every machine.
The result is unpacked and compared before the file gets its name.

zstd needs a kernel with CONFIG_RD_ZSTD (Linux 5.9; Debian and Ubuntu have it), gzip
one with CONFIG_RD_GZIP. Pack every release in the same way, before publish.`,
			"repo-tool repack -o initramfs initrd.img",
			"repo-tool repack --packing gzip --level 6 -o initramfs initrd.img"),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "packing", Value: string(initramfs.Zstd), Usage: "how to compress: `zstd` or gzip"},
			&cli.IntFlag{Name: "level", Usage: "the compression level `N`: 1 to 22 for zstd, 1 to 9 for gzip; default: 19 and 9"},
			&cli.StringFlag{Name: "segment", Value: "256K", Usage: "about how much to compress in one go, as a `SIZE` in bytes, K or M"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the `FILE` to make; it may be INITRAMFS itself"},
		},
		Action: runRepack,
	}
}

func runRepack(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "output"); err != nil {
		return err
	}
	input, err := oneArg(c, "INITRAMFS", "")
	if err != nil {
		return err
	}
	if input == "" {
		return console.Usagef("repack: INITRAMFS is missing; see repo-tool repack --help")
	}
	opts := initramfs.Options{Packing: initramfs.Packing(c.String("packing")), Level: c.Int("level")}
	if opts.Segment, err = parseSize(c.String("segment")); err != nil {
		return err
	}
	if err := opts.Check(); err != nil {
		return &console.UsageError{Err: fmt.Errorf("repack: %w", err)}
	}
	bars := &bars{}
	if !v.json && console.IsTerminal(os.Stderr) {
		opts.Progress = bars.show
	}
	result, err := initramfs.Repack(c.Context, input, c.String("output"), opts)
	bars.close()
	if err != nil {
		return badInitramfs(err)
	}
	return v.print(c, result, func(w io.Writer) { repackText(w, c.String("output"), result) })
}

// badInitramfs adds advice to what is wrong with an initramfs.
func badInitramfs(err error) error {
	if !errors.Is(err, initramfs.ErrFormat) {
		return err
	}
	return &repository.InvalidError{
		Reason: "bad-initramfs", Err: err,
		Advice: "Give the whole file that a kernel boots; `file` and `lsinitramfs` say what it is.",
	}
}

func repackText(w io.Writer, output string, r *initramfs.Result) {
	fmt.Fprintf(w, "packed %s: %d bytes, before %d; %d entries in %d segments of %s\n", output, r.Out, r.In, r.Entries, r.Segments, r.Packing)
	if r.Early > 0 {
		fmt.Fprintf(w, "an early archive of %d bytes at its beginning is as it was\n", r.Early)
	}
	fmt.Fprintf(w, "contents %s\n", r.Contents)
}
