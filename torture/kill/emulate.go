//go:build linux && amd64

package kill

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tufboot/grub"
	"tufboot/internal/grubemu"
)

// helper is the grub.cfg of a second disk, from which GRUB starts; it stands in for the
// loader. Then the node's disk is all that GRUB knows.
const helper = grubemu.Loader + `set root=hd0,gpt1
set prefix=(hd0,gpt1)/grub
configfile (hd0,gpt1)/grub/grub.cfg
reboot
`

// makeHelper makes that disk.
func (n *node) makeHelper() error {
	folder := filepath.Join(n.dir, "helper", "start")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "grub.cfg"), []byte(helper), 0o600); err != nil {
		return err
	}
	return run("mke2fs", "-q", "-t", "ext2", "-d", filepath.Dir(folder), filepath.Dir(folder)+".img", "1M")
}

// asksGRUB has GRUB's own code boot a copy of the disk, by its grub.cfg, and compares
// what it tells the kernel with what the model says.
func (n *node) asksGRUB(ctx context.Context, b boots) error {
	disk := filepath.Join(n.dir, "copy")
	if err := run("cp", "--sparse=always", n.file.Name(), disk); err != nil {
		return err
	}
	got, err := grubemu.Run(ctx, grubemu.Options{Dir: n.dir, Root: "hd1", Folder: "/start", Disks: []string{disk, filepath.Join(n.dir, "helper.img")}})
	if err != nil {
		return err
	}
	if got.Words == nil {
		return fmt.Errorf("GRUB boots nothing:\n%s", got.Output)
	}
	told, err := grub.ParseKernelCmdline(strings.Join(got.Words[1:], " "))
	if err != nil {
		return fmt.Errorf("GRUB: %w", err)
	}
	_, want := b.Boot(grub.Facts{LastGood: b.lastGood})
	if told.Slot != want.Slot || told.Try != want.Try || told.BootID != want.BootID {
		return fmt.Errorf("GRUB boots %+v, and the model %+v", told, want)
	}
	return nil
}
