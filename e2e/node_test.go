package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/e2e/lab"
	"tufboot/e2e/machine"
)

// node is one machine under test, with a repository of its own. Its methods
// end the test when the machine does not do what they say.
type node struct {
	*testing.T
	lab   *lab.Lab
	repo  *lab.Repo
	image machine.Image
	opts  machine.Options
	m     *machine.Machine
}

// turns lets two machines run at once: each takes a core.
var turns = make(chan struct{}, 2)

// newNode makes a repository with release v1 and a disk that holds it, and does
// not start the machine.
func newNode(t *testing.T, firmware machine.Firmware) *node {
	t.Helper()
	return newNodeIn(t, shared, firmware)
}

func newNodeIn(t *testing.T, in *lab.Lab, firmware machine.Firmware) *node {
	t.Helper()
	n := newPatientNode(t, in, firmware)
	n.waitForNobody()
	return n
}

// newPatientNode is newNode with the disk as repo-tool made it: at each boot GRUB waits
// three seconds for somebody to press ESC.
func newPatientNode(t *testing.T, in *lab.Lab, firmware machine.Firmware) *node {
	t.Helper()
	name := strings.NewReplacer("/", "-", "_", "-").Replace(strings.ToLower(t.Name()))
	n := &node{T: t, lab: in}
	turns <- struct{}{}
	t.Cleanup(func() { <-turns })
	var err error
	n.repo, err = n.lab.NewRepo(t.Context(), name)
	n.must(err)
	v1, err := n.repo.GoodRelease("v1")
	n.must(err)
	n.must(n.repo.Publish(t.Context(), v1))
	dir, err := os.MkdirTemp(n.lab.Dir, "machine-") // short: sockets have at most 108 characters
	n.must(err)
	n.image, err = n.repo.Disk(t.Context(), v1, filepath.Join(dir, "disk.img"))
	n.must(err)
	n.opts = machine.Options{Name: name, Firmware: firmware, Dir: dir, Disks: []machine.Disk{{Path: n.image.Path, Boot: true}}}
	t.Cleanup(n.kill)
	return n
}

// waitForNobody takes those seconds from the disk's grub.cfg, and nothing else.
func (n *node) waitForNobody() {
	n.Helper()
	config, err := n.image.ReadESP("grub/grub.cfg")
	n.must(err)
	wait := []byte("\nif sleep --interruptible 3; then true; else\n")
	if bytes.Count(config, wait) != 1 {
		n.Fatalf("grub.cfg does not wait as expected:\n%s", config)
	}
	config = bytes.Replace(config, wait, bytes.Replace(wait, []byte("3"), []byte("0"), 1), 1)
	n.must(n.image.WriteESP("grub/grub.cfg", config))
}

func (n *node) must(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

// step runs a part of the test that goes on with the machine as it is.
func (n *node) step(name string, fn func(n *node)) {
	n.Helper()
	ok := n.Run(name, func(t *testing.T) {
		sub := *n
		sub.T = t
		fn(&sub)
		n.m = sub.m
	})
	if !ok {
		n.FailNow() // what follows builds on this step
	}
}

// start switches the machine on.
func (n *node) start() {
	n.Helper()
	var err error
	n.m, err = machine.Start(n.opts)
	n.must(err)
}

// kill is a power cut.
func (n *node) kill() {
	if n.m != nil {
		n.m.Kill()
		n.m = nil
	}
}

// comesUp waits for the next boot that reaches user space, and expects it.
func (n *node) comesUp(slot, release string, try int) {
	n.Helper()
	got, err := n.m.WaitBoot(n.Context())
	n.must(err)
	if got.Slot != slot || got.Release != release || got.Try != try {
		n.Fatalf("the machine came up with %s; expected %s\n%s", got, machine.Boot{Slot: slot, Release: release, Try: try}, n.m.Serial.Tail(60))
	}
}

// reboot reboots the guest and expects what comes up. The kernel is not asked
// to write anything back first: what the agent needs, it must have synced.
func (n *node) reboot(slot, release string, try int) {
	n.Helper()
	n.must(n.m.Begin("reboot -n -f"))
	n.comesUp(slot, release, try)
}

// sh runs a script in the guest and expects its exit status.
func (n *node) sh(script string, status int) string {
	n.Helper()
	r, err := n.m.Exec(n.Context(), script)
	n.must(err)
	if r.Status != status {
		n.Fatalf("%q in the guest: exit status %d, expected %d\n%s%s", script, r.Status, status, r.Stdout, r.Stderr)
	}
	return r.Stdout + r.Stderr
}

// refused runs the agent in the guest and expects an exit code and a reason.
func (n *node) refused(args string, status int, reason string) {
	n.Helper()
	r, err := n.m.Exec(n.Context(), "agent "+args+" --json")
	n.must(err)
	var failure struct{ Reason, Error, Hint string }
	// The error is the last thing on the error output, after progress and log.
	_, last, _ := strings.Cut("\n"+r.Stderr, "\n{\n")
	err = json.Unmarshal([]byte("{"+last), &failure)
	if err != nil || r.Status != status || failure.Reason != reason {
		n.Fatalf("agent %s: exit code %d and reason %q, expected %d and %q (%v)\n%s%s", args, r.Status, failure.Reason, status, reason, err, r.Stdout, r.Stderr)
	}
	if failure.Hint == "" {
		n.Errorf("agent %s: reason %q comes without a word on what to do", args, reason)
	}
}

// gatePasses waits until the boot's health gate has ended well.
func (n *node) gatePasses() {
	n.Helper()
	n.sh(machine.WaitForGate, 0)
}

// publish publishes a release that make makes.
func (n *node) publish(version string, make func(string) (lab.Release, error)) {
	n.Helper()
	rel, err := make(version)
	n.must(err)
	n.must(n.repo.Publish(n.Context(), rel))
}

// env returns the environment block as it is on the disk.
func (n *node) env() []byte {
	n.Helper()
	block, err := n.image.Env()
	n.must(err)
	return block
}

// envHas expects lines in the environment block.
func (n *node) envHas(lines ...string) {
	n.Helper()
	block := n.env()
	for _, l := range lines {
		if !bytes.Contains(block, []byte("\n"+l+"\n")) {
			n.Errorf("the environment block has no %q:\n%s", l, bytes.TrimRight(block, "#"))
		}
	}
}

// slots returns the hashes of both system partitions.
func (n *node) slots() string {
	n.Helper()
	a, err := n.image.Hash("SYSTEM-A")
	n.must(err)
	b, err := n.image.Hash("SYSTEM-B")
	n.must(err)
	return a + " " + b
}
