package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// testServerDown: nothing answers. The Job tries again, then fails, and what
// `kubectl describe pod` shows says why and what to do.
func (n *node) testServerDown(t *testing.T) {
	n.repository.down(t)
	defer n.repository.up(t)
	n.start(t, "server-down")
	failed, pods := n.finished(t, "server-down")
	if !strings.HasPrefix(failed, "BackoffLimitExceeded") || len(pods) != 3 {
		t.Errorf("%d pods, the Job says %q", len(pods), failed)
	}
	for _, p := range pods {
		end := p.Status.ContainerStatuses[0].State.Terminated
		if end.ExitCode != 1 {
			t.Errorf("exit code %d", end.ExitCode)
		}
		has(t, end.Message, `"reason": "server-unreachable"`, `"hint": `, address)
	}
}

// testMissingFolder: a node that was not prepared. The pod does not start, and its
// events say what is missing.
func (n *node) testMissingFolder(t *testing.T) {
	n.startWith(t, "missing", "path: /var/lib/tufboot", "path: /var/lib/missing")
	defer n.kubectl(t, "-n", namespace, "delete", "job", "missing")
	if err := n.Await(time.Minute, "an event", func() error {
		events, err := n.Kubectl("-n", namespace, "get", "events", "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(events, `hostPath type check failed: /var/lib/missing is not a directory`) {
			err = fmt.Errorf("events: %s", events)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// testUpdate: the CronJob's own schedule starts the update, which is held up by a
// slow server. Of two more that start meanwhile one leaves at once and one waits.
func (n *node) testUpdate(t *testing.T) {
	began, release := n.repository.slow()
	defer release()
	n.kubectl(t, "-n", namespace, "set", "env", "cronjob/tufboot-update", "TUFBOOT_SPLAY=0")
	n.kubectl(t, "-n", namespace, "patch", "cronjob", "tufboot-update", "-p", `{"spec":{"schedule":"* * * * *"}}`)
	var first string
	err := n.Await(90*time.Second, "the schedule starts a Job", func() error {
		out, err := n.Kubectl("-n", namespace, "get", "jobs", "-o", `jsonpath={.items[?(@.metadata.ownerReferences[0].kind=="CronJob")].metadata.name}`)
		if err != nil {
			return err
		}
		for _, name := range strings.Fields(out) {
			if strings.HasPrefix(name, "tufboot-update-") {
				first = name
				return nil
			}
		}
		return errNotYet
	})
	if err != nil {
		t.Fatal(err)
	}
	n.kubectl(t, "-n", namespace, "patch", "cronjob", "tufboot-update", "-p", `{"spec":{"suspend":true}}`)
	n.kubectl(t, "-n", namespace, "set", "env", "cronjob/tufboot-update", "TUFBOOT_SPLAY=30m")
	if err := n.Await(time.Minute, "the update fetches the release", func() error {
		select {
		case <-began:
			return nil
		default:
			return errNotYet
		}
	}); err != nil {
		t.Fatalf("%v\n%s", err, n.logs(t, first))
	}

	n.startWith(t, "leaves", "--lock-wait=5m", "--lock-wait=1s")
	has(t, n.complete(t, "leaves"), `"refused": "locked"`)

	n.start(t, "waits")
	if err := n.Await(time.Minute, "the second Job's agent runs", func() error {
		for _, p := range n.pods(t, "waits") {
			if p.Status.Phase == "Running" {
				return nil
			}
		}
		return errNotYet
	}); err != nil {
		t.Fatal(err)
	}
	if state := bootState(t); state["boot_success"] != "1" || state["B_ok"] != "0" {
		t.Errorf("half an update, and the boot state is %v", state)
	}
	release()
	has(t, n.complete(t, first), `"install": true`, `"version": "2.0.0"`)
	has(t, n.complete(t, "waits"), `"refused": "reboot-pending"`)

	has(t, n.shell(t, blocks(t, guide)[4]), `"refused": "reboot-pending"`)

	state := bootState(t)
	if state["active_slot"] != "B" || state["B_ok"] != "1" || state["boot_success"] != "0" || state["boot_counter"] != "3" {
		t.Errorf("not armed: %v", state)
	}
	has(t, read(t, "/run/tufboot/reboot-required"), "slot B is armed")
}

// testTrialPending: the node has booted the new release, which is not committed
// yet. Nothing is done, and the Job does not fail for it. With the variable taken
// away that says so, it fails at once, with the exit code of a refusal.
func (n *node) testTrialPending(t *testing.T) {
	bootTrial(t)
	n.start(t, "trial")
	has(t, n.complete(t, "trial"), `"refused": "trial-pending"`)

	n.start(t, "refused", "TUFBOOT_REFUSAL_OK-")
	failed, pods := n.finished(t, "refused")
	if !strings.HasPrefix(failed, "PodFailurePolicy") || len(pods) != 1 {
		t.Errorf("%d pods, the Job says %q", len(pods), failed)
	}
	end := pods[0].Status.ContainerStatuses[0].State.Terminated
	if end.ExitCode != 3 {
		t.Errorf("exit code %d", end.ExitCode)
	}
	has(t, end.Message, `"reason": "trial-pending"`)
	has(t, n.shell(t, blocks(t, "When a Job fails")[0]), "refused", "PodFailurePolicy", `"reason": "trial-pending"`)
}
