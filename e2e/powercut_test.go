package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"tufboot/e2e/machine"
)

// TestPowerCutWhileTheSlotIsWritten cuts the power at several points of a
// download; the node must boot the old release and the next update succeed.
func TestPowerCutWhileTheSlotIsWritten(t *testing.T) {
	t.Parallel()
	n := newNode(t, machine.BIOS)
	n.start()
	n.comesUp("A", "v1", 0)
	n.gatePasses() // else it may have the lock
	cuts := []struct {
		name, file string
		after      int64
	}{
		{"before the first byte", ".vmlinuz", 0},
		{"within the kernel", ".vmlinuz", 5 << 20},
		{"within the initramfs", ".initramfs", 3 << 20},
	}
	for i, cut := range cuts {
		n.step(cut.name, func(n *node) {
			n.publish("v"+string(rune('2'+i)), n.repo.GoodRelease)
			stall := n.lab.Server.StallAt(cut.file, cut.after)
			// The releases differ in little: else there would be no download to cut.
			n.must(n.m.Begin("agent update --no-delta"))
			select {
			case <-stall.Reached:
			case <-time.After(machine.Timeout):
				n.Fatalf("the download does not get that far\n%s", n.m.Serial.Tail(20))
			}
			n.envHas("boot_success=1", "active_slot=A", "A_ok=1", "B_ok=0")
			n.kill()
			n.start()
			n.comesUp("A", "v1", 0)
			n.gatePasses()
			n.sh("agent apply", 0)
		})
	}
	n.step("the update succeeds in the end", func(n *node) {
		n.sh("agent update", 0)
		n.reboot("B", "v4", 1)
		n.gatePasses()
	})
}

// TestPowerCutWhileTheBlockIsWritten cuts the power at the moment at which each
// of the writes to the environment block reaches the disk, on a single way
// from one release to the next.
func TestPowerCutWhileTheBlockIsWritten(t *testing.T) {
	t.Parallel()
	n := newNode(t, machine.BIOS)
	n.start()
	n.comesUp("A", "v1", 0)
	n.gatePasses()
	n.publish("v2", n.repo.GoodRelease)
	n.step("the slot is given up for writing", func(n *node) {
		n.must(n.m.Begin("agent update"))
		n.killWhenEnvHas("B_ok=0")
		n.start()
		n.comesUp("A", "v1", 0)
		n.gatePasses()
	})
	n.step("the trial is armed", func(n *node) {
		n.must(n.m.Begin("agent update"))
		n.killWhenEnvHas("boot_success=0")
		n.envHas("boot_counter=3", "active_slot=B", "B_ok=1")
	})
	n.step("GRUB counts the trial boot", func(n *node) {
		n.start()
		n.killWhenEnvHas("boot_counter=2")
	})
	n.step("the trial is marked good", func(n *node) {
		n.start()
		n.comesUp("B", "v2", 2)
		n.killWhenEnvHas("boot_success=1")
		n.envHas("active_slot=B", "A_ok=1", "B_ok=1")
		n.start()
		n.comesUp("B", "v2", 0)
		n.gatePasses()
	})
	n.step("the next update succeeds", func(n *node) {
		n.publish("v3", n.repo.GoodRelease)
		n.sh("agent update", 0)
		n.reboot("A", "v3", 1)
		n.gatePasses()
		n.envHas("boot_success=1", "active_slot=A", "A_ok=1", "B_ok=1")
	})
}

// TestPowerCutAroundActivate cuts the power at moments after `agent activate`
// began that nothing has chosen: whatever boots must be one of the two
// releases, and never an unproven one that is not counted.
func TestPowerCutAroundActivate(t *testing.T) {
	t.Parallel()
	n := newNode(t, machine.UEFI)
	n.publish("v2", n.repo.GoodRelease)
	n.start()
	n.comesUp("A", "v1", 0)
	n.gatePasses()
	n.sh("agent apply", 0)
	for _, delay := range []time.Duration{0, 60 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond} {
		n.must(n.m.Begin("agent activate"))
		timer := time.NewTimer(delay)
		<-timer.C
		n.kill()
		n.start()
		b, err := n.m.WaitBoot(t.Context())
		n.must(err)
		n.Logf("after a power cut %s into activate: %s", delay, b)
		n.gatePasses()
		if b.Release == "v2" {
			if b.Slot != "B" || b.Try != 1 {
				n.Fatalf("the new release came up as %s", b)
			}
			break
		}
		if b.Slot != "A" || b.Release != "v1" || b.Try != 0 {
			n.Fatalf("the machine came up with %s", b)
		}
	}
	n.sh("agent update", 0)
	if bytes.Contains(n.env(), []byte("\nactive_slot=A\n")) {
		n.Fatal("the update did not activate slot B")
	}
	n.reboot("B", "v2", n.tryOfNextBoot())
	n.gatePasses()
	n.envHas("boot_success=1", "active_slot=B", "A_ok=1", "B_ok=1")
}

// tryOfNextBoot returns 1 while a trial is armed, else 0.
func (n *node) tryOfNextBoot() int {
	if bytes.Contains(n.env(), []byte("\nboot_success=0\n")) {
		return 1
	}
	return 0
}

// killWhenEnvHas cuts the power as soon as the environment block on the disk
// has the line.
func (n *node) killWhenEnvHas(line string) {
	n.Helper()
	at, err := n.image.EnvOffset()
	n.must(err)
	f, err := os.Open(n.image.Path)
	n.must(err)
	defer f.Close()
	block := make([]byte, 1024)
	deadline := time.Now().Add(machine.Timeout)
	for !strings.Contains(string(block), "\n"+line+"\n") {
		if time.Now().After(deadline) {
			n.Fatalf("the environment block never has %q:\n%s\n%s", line, bytes.TrimRight(block, "#"), n.m.Serial.Tail(60))
		}
		_, err := f.ReadAt(block, at)
		n.must(err)
		time.Sleep(time.Millisecond) // the image is a file: nothing tells of its changes
	}
	n.kill()
}
