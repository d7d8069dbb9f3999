package e2e

import (
	"bytes"
	"strings"
	"testing"

	"tufboot/e2e/machine"
)

// TestUpdateAndRollback is the life of a node, on one machine for each
// firmware: a good update, and three ways in which a release can be bad.
func TestUpdateAndRollback(t *testing.T) {
	for _, firmware := range []machine.Firmware{machine.BIOS, machine.UEFI} {
		t.Run(string(firmware), func(t *testing.T) {
			t.Parallel()
			n := newNode(t, firmware)
			n.start()
			n.step("first boot", firstBoot)
			n.step("good update", goodUpdate)
			n.step("committed boot writes nothing", committedBoot)
			n.step("health check fails", unhealthyUpdate)
			n.step("kernel is garbage", garbageUpdate)
			n.step("panic at start", panickingUpdate)
			n.step("good update after all that", laterUpdate)
		})
	}
}

func firstBoot(n *node) {
	n.comesUp("A", "v1", 0)
	n.gatePasses()
	n.envHas("boot_success=1", "active_slot=A", "A_ok=1", "B_ok=1")
}

func goodUpdate(n *node) {
	n.publish("v2", n.repo.GoodRelease)
	n.lab.Server.Requests(n.repo.Name)
	n.sh("agent update", 0)
	n.envHas("boot_success=0", "boot_counter=3", "active_slot=B", "B_ok=1")
	n.reboot("B", "v2", 1)
	n.gatePasses()
	n.envHas("boot_success=1", "active_slot=B", "A_ok=1", "B_ok=1")

	n.lab.Server.Requests(n.repo.Name)
	n.sh("agent update", 0)
	if r := n.lab.Server.Requests(n.repo.Name); len(r) != 2 {
		n.Errorf("a node that is up to date makes these requests:\n%s", strings.Join(r, "\n"))
	}
}

// committedBoot compares the whole ESP: neither GRUB nor the gate may write to
// it, so that a power cut at any moment of a committed boot does no harm.
func committedBoot(n *node) {
	env := n.env()
	esp, err := n.image.Hash("EFI")
	n.must(err)
	n.reboot("B", "v2", 0)
	n.gatePasses()
	if got := n.env(); !bytes.Equal(got, env) {
		n.Errorf("a committed boot changed the environment block from\n%s\nto\n%s", env, got)
	}
	if got, err := n.image.Hash("EFI"); err != nil || got != esp {
		n.Errorf("a committed boot wrote to the ESP (%v)", err)
	}
}

func unhealthyUpdate(n *node) {
	n.publish("v3", n.repo.UnhealthyRelease)
	n.sh("agent update", 0)
	n.reboot("A", "v3", 1)
	n.comesUp("A", "v3", 2)
	n.comesUp("A", "v3", 3)
	n.comesUp("B", "v2", 0)
	n.isGivenUp()
}

// garbageUpdate: GRUB falls back in the same boot, since it sees that it cannot
// load the kernel.
func garbageUpdate(n *node) {
	n.publish("v4", n.repo.GarbageRelease)
	n.sh("agent update", 0)
	n.reboot("B", "v2", 0)
	n.isGivenUp()
}

func panickingUpdate(n *node) {
	n.publish("v5", n.repo.PanickingRelease)
	n.sh("agent update", 0)
	mark := n.m.Serial.Mark()
	n.reboot("B", "v2", 0)
	if got := strings.Count(n.m.Serial.Since(mark), "release v5 ends at once"); got != 3 {
		n.Errorf("%d trial boots panicked, expected 3\n%s", got, n.m.Serial.Tail(60))
	}
	n.isGivenUp()
}

// isGivenUp expects that slot A's release failed, and that the node remembers.
func (n *node) isGivenUp() {
	n.Helper()
	n.gatePasses()
	n.envHas("boot_success=1", "active_slot=B", "A_ok=0", "B_ok=1")
	before := n.slots()
	n.refused("update", 3, "release-failed-before")
	if n.slots() != before {
		n.Error("the refused update changed a slot")
	}
	n.envHas("boot_success=1", "active_slot=B", "A_ok=0", "B_ok=1")
}

func laterUpdate(n *node) {
	n.publish("v6", n.repo.GoodRelease)
	n.sh("agent update", 0)
	n.reboot("A", "v6", 1)
	n.gatePasses()
	n.envHas("boot_success=1", "active_slot=A", "A_ok=1", "B_ok=1")
}
