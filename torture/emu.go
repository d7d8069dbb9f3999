package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tufboot/grub"
	"tufboot/internal/grubemu"
)

// emulator runs GRUB's own code on a disk, by the real grub.cfg that is on it.
type emulator struct {
	dir string // of the helper disk and the device maps
}

// helper is the grub.cfg of a second disk, from which GRUB starts; it stands in for the
// loader. Then the disk under test is all that GRUB knows, as after a boot from it.
const helper = grubemu.Loader + `set root=hd0,gpt1
set prefix=(hd0,gpt1)/grub
configfile (hd0,gpt1)/grub/grub.cfg
echo "no grub.cfg"
reboot
`

func newEmulator(ctx context.Context, dir string) (*emulator, error) {
	files := filepath.Join(dir, "helper")
	if err := os.MkdirAll(filepath.Join(files, "start"), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(files, "start", "grub.cfg"), []byte(helper), 0o644); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext2", "-d", files, files+".img", "1M").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("mke2fs (of the package e2fsprogs): %w: %s", err, out)
	}
	return &emulator{dir: dir}, nil
}

// boot is what GRUB did in one boot.
type boot struct {
	grub.Booted          // what the kernel was told
	words       []string // the kernel's arguments
	wrong       string   // why nothing was booted; "" if something was
	writes      []change // what GRUB wrote
}

// cmdline is what /proc/cmdline holds after the boot.
func (b boot) cmdline() string { return strings.Join(b.words, " ") }

// run starts GRUB from a disk.
func (e *emulator) run(ctx context.Context, d *disk) (boot, error) {
	got, err := grubemu.Run(ctx, grubemu.Options{
		Dir: e.dir, Root: "hd1", Folder: "/start", Disks: []string{d.path, filepath.Join(e.dir, "helper.img")},
	})
	var crashed *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return boot{}, ctx.Err()
	case errors.Is(err, grubemu.ErrWaits), errors.As(err, &crashed):
		return boot{wrong: err.Error()}, nil
	case err != nil:
		return boot{}, err
	case got.Words == nil:
		return boot{wrong: "GRUB boots nothing:\n" + got.Output}, nil
	}
	b := boot{words: got.Words[1:]}
	if b.Booted, err = grub.ParseKernelCmdline(b.cmdline()); err != nil {
		return boot{wrong: err.Error()}, nil //nolint:nilerr // that is the answer
	}
	part := map[grub.Slot]string{grub.SlotA: "(hd0,gpt2)/", grub.SlotB: "(hd0,gpt3)/"}[b.Slot]
	if kernel := got.Words[0]; part == "" || kernel != part+grub.KernelFile || got.Initramfs != part+grub.InitramfsFile {
		return boot{wrong: fmt.Sprintf("slot %q has kernel %s and initramfs %s", b.Slot, kernel, got.Initramfs)}, nil
	}
	return b, nil
}
