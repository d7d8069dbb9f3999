package e2e

import (
	"os"
	"strings"
	"testing"

	"tufboot/e2e/lab"
	"tufboot/e2e/machine"
	"tufboot/grub"
)

// TestSlotThatRots has the disk forget a bit of a slot's initramfs while the machine
// is off. GRUB finds it before it boots the slot, and boots the other one.
func TestSlotThatRots(t *testing.T) {
	t.Parallel()
	n := newNode(t, machine.UEFI)
	n.start()
	n.comesUp("A", "v1", 0)
	n.gatePasses()
	v2, err := n.repo.GoodRelease("v2")
	n.must(err)
	n.must(n.repo.Publish(t.Context(), v2))
	n.step("an armed slot", func(n *node) {
		n.sh("agent update", 0)
		n.kill()
		n.rot("SYSTEM-B", v2)
		n.start()
		n.comesUp("A", "v1", 0)
		n.envHas("boot_success=1", "active_slot=A", "A_ok=1", "B_ok=0")
		n.gatePasses()
		if out := n.sh("agent status", 0); !strings.Contains(out, "slot B did not hold what had been written to it") {
			n.Errorf("agent status says\n%s", out)
		}
		n.refused("update", 3, "release-failed-before")
	})
	n.step("the release is installed again by name", func(n *node) {
		n.sh("agent update --release v2", 0)
		n.reboot("B", "v2", 1)
		n.gatePasses()
	})
	n.step("a committed slot, where that is asked for", func(n *node) {
		block := grub.NewBlock()
		n.must(block.Set("check_slots", string(grub.CheckAlways)))
		n.kill()
		n.must(n.image.WriteESP("grub/"+grub.SettingsFile, block.Bytes()))
		n.rot("SYSTEM-B", v2)
		n.start()
		n.comesUp("A", "v1", 0)
		n.gatePasses()
		n.envHas("boot_success=1", "active_slot=A")
	})
}

// rot spoils a bit in the middle of a release's initramfs.
func (n *node) rot(label string, rel lab.Release) {
	n.Helper()
	data, err := os.ReadFile(rel.Initramfs)
	n.must(err)
	middle := len(data) / 2
	n.must(n.image.Spoil(label, data[middle:middle+64]))
}
