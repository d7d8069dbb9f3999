package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"tufboot/e2e/machine"
)

// TestCleanReboot reboots a machine in good order while its trial is not decided: that
// is no failed boot. A crash is, and so is the reboot of a gate that found the release
// unhealthy, in however good an order it comes about.
func TestCleanReboot(t *testing.T) {
	t.Parallel()
	n := newNode(t, machine.BIOS)
	n.start()
	n.comesUp("A", "v1", 0)
	n.gatePasses()
	n.publish("v2", n.repo.WaitingRelease)
	n.sh("agent update", 0)
	n.reboot("B", "v2", 1)
	n.step("in good order", func(n *node) {
		n.must(n.m.Begin("reboot"))
		n.comesUp("B", "v2", 1)
		n.envHas("boot_success=0", "boot_counter=2")
		if out := n.sh("agent status", 0); !strings.Contains(out, "1 of its boots ended by a clean reboot") {
			n.Errorf("agent status says\n%s", out)
		}
	})
	n.step("a crash", func(n *node) {
		n.reboot("B", "v2", 2)
		n.sh("touch /data/healthy", 0)
		n.gatePasses()
		n.envHas("boot_success=1", "active_slot=B")
	})
	n.step("by the gate", func(n *node) {
		n.publish("v3", n.repo.OrderlyUnhealthyRelease)
		n.sh("agent update", 0)
		n.reboot("A", "v3", 1)
		n.comesUp("A", "v3", 2)
	})
}

// TestHangs has a hardware watchdog armed for trials: a release that hangs, in one of
// three ways at each boot, is rolled back, and one that is good has nothing to fear.
func TestHangs(t *testing.T) {
	t.Parallel()
	watched, err := shared.WithWatchdog()
	if err != nil {
		t.Fatal(err)
	}
	n := newNodeIn(t, watched, machine.BIOS)
	n.opts.Watchdog = true
	n.start()
	n.comesUp("A", "v1", 0)
	n.gatePasses()
	n.step("a good release", func(n *node) {
		n.publish("v2", n.repo.WatchedRelease)
		n.sh("agent update", 0)
		n.reboot("B", "v2", 1)
		n.gatePasses()
		n.sh("until grep -q '^inactive' /sys/class/watchdog/watchdog0/state; do sleep 0.1; done; grep 'the watchdog is armed' /run/watchdog.log", 0)
	})
	n.step("a watchdog of somebody else", func(n *node) {
		n.sh("rm /run/tufboot/trial-decided; agent watchdog >/run/watchdog.log 2>&1 &\n"+
			"until grep -q '^active' /sys/class/watchdog/watchdog0/state; do sleep 0.1; done", 0)
		n.refused("watchdog", 3, "watchdog-busy")
		n.sh("touch /run/tufboot/trial-decided; until grep -q '^inactive' /sys/class/watchdog/watchdog0/state; do sleep 0.1; done", 0)
	})
	n.step("a release that hangs", func(n *node) {
		n.publish("v3", n.repo.HangingRelease)
		n.sh("agent update", 0)
		mark := n.m.Serial.Mark()
		n.must(n.m.Begin("reboot -n -f"))
		for try, way := range []string{"user space stands still", "the kernel stands still", "init sleeps"} {
			n.hangs(mark, try+1, way)
		}
		n.comesUp("B", "v2", 0)
		log := n.m.Serial.Since(mark)
		if hung, panics := strings.Count(log, "node: hangs: "), strings.Count(log, "end Kernel panic"); hung != 3 || panics != 1 || strings.Contains(log, "Rebooting in") {
			n.Errorf("it hung %d times, and panicked %d times, which was to stay so\n%s", hung, panics, n.m.Serial.Tail(60))
		}
		n.isGivenUp()
	})
}

// hangs waits for a trial boot that hangs.
func (n *node) hangs(mark, try int, way string) {
	n.Helper()
	ctx, cancel := context.WithTimeout(n.Context(), machine.Timeout)
	defer cancel()
	boot := fmt.Sprintf("node: release v3, slot A, trial boot %d", try)
	if _, err := n.m.Serial.Wait(ctx, mark, regexp.MustCompile("(?s)"+boot+".*node: hangs: "+way)); err != nil {
		n.Fatalf("%s: %v\n%s", way, err, n.m.Serial.Tail(60))
	}
}
