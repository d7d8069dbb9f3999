package e2e

import (
	"testing"

	"tufboot/e2e/machine"
)

// TestESP shows that the agent works with FAT as the real kernel has it: not
// mounted (as in all other tests), mounted read-only, and mounted for writing
// while the machine goes down. A node whose environment block was destroyed
// boots and repairs it.
func TestESP(t *testing.T) {
	t.Parallel()
	n := newNode(t, machine.BIOS)
	n.must(n.image.WriteESP("grub/grubenv", make([]byte, 1024)))
	n.start()
	n.step("zeroed environment block", func(n *node) {
		n.comesUp("A", "v1", 0)
		n.gatePasses()
		n.envHas("boot_success=1", "active_slot=A", "A_ok=1", "B_ok=0")
	})
	n.publish("v2", n.repo.GoodRelease)
	stop, err := n.repo.Serve(t.Context()) // once with our own server, too
	n.must(err)
	defer stop()
	n.step("mounted read-only", func(n *node) {
		n.sh("mkdir /efi && mount -t vfat -o ro $(agent locate efi) /efi", 0)
		n.refused("update", 3, "esp-read-only")
		n.envHas("boot_success=1", "active_slot=A", "A_ok=1", "B_ok=0")
	})
	n.step("mounted for writing", func(n *node) {
		n.sh("mount -o remount,rw /efi && agent update --server "+n.repo.Server, 0)
		n.sh("grep -qx active_slot=B /efi/grub/grubenv && grep -qx boot_success=0 /efi/grub/grubenv", 0)
		n.reboot("B", "v2", 1)
		n.gatePasses()
		n.envHas("boot_success=1", "active_slot=B", "A_ok=1", "B_ok=1")
	})
}
