package cluster_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"tufboot/deploy/cluster"
)

// attachDisk makes the disk a block device with partitions, and takes the
// environment block out of it: the kernel of a test machine may have no vfat.
func attachDisk(t *testing.T) {
	t.Helper()
	device := strings.TrimSpace(output(t, "losetup", "--find", "--show", path("disk.img")))
	output(t, "partx", "--add", device)
	must(t, os.MkdirAll(path("esp"), 0o755))
	output(t, "mcopy", "-n", "-i", path("disk.img")+"@@1M", "::/grub/grubenv", "::/grub/last-good", path("esp"))
}

// booted has the kernel say what grub.cfg passes to it: the slot, and of a trial
// which one and which boot of it this is.
func booted(t *testing.T, slot, bootID string, try int) {
	t.Helper()
	esp := strings.TrimSpace(output(t, "sfdisk", "--part-uuid", path("disk.img"), "1"))
	write(t, cluster.KernelCmdline, fmt.Appendf(nil, "tufboot.slot=%s tufboot.boot_id=%s tufboot.try=%d tufboot.esp=%s panic=10\n", slot, bootID, try, esp))
}

// bootTrial does what GRUB does with an armed slot: count, and boot it.
func bootTrial(t *testing.T) {
	t.Helper()
	state := bootState(t)
	block := []byte(read(t, path("esp/grubenv")))
	write(t, path("esp/grubenv"), bytes.Replace(block, []byte("boot_counter=3"), []byte("boot_counter=2"), 1))
	booted(t, state["active_slot"], state["boot_id"], 1)
}

// bootState returns the environment block's variables.
func bootState(t *testing.T) map[string]string {
	t.Helper()
	vars := map[string]string{}
	for line := range strings.Lines(read(t, path("esp/grubenv"))) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			vars[name] = value
		}
	}
	return vars
}
