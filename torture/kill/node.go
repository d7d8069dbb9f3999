//go:build linux && amd64

package kill

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tufboot/grub"
	"tufboot/image"
	"tufboot/torture/kill/trace"
)

// node is a machine: a disk on a loop device, and the folder that outlives a run of
// the agent beside it.
type node struct {
	*world
	dir  string
	file *os.File // the disk's bytes
	loop string
	disk *image.Disk
	mark []byte // what restore compares by
	// patience is how long the kernel may take to end what a killed process had open.
	patience time.Duration
}

// sentinel is what asks for a reboot.
const sentinel = "reboot-required"

// MiB of the partitions, in their order on the disk.
const (
	espMiB  = 4
	slotMiB = 8
	dataMiB = 1
)

// newNode makes a node whose slots both hold release 1. The ESP is ext4, as GRUB on
// BIOS allows: not every kernel that this runs on can mount FAT.
func newNode(w *world, dir string) (n *node, err error) {
	if err := os.MkdirAll(filepath.Join(dir, "health", "required.d"), 0o700); err != nil {
		return nil, err
	}
	n = &node{world: w, dir: dir, patience: 10 * time.Second}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if err := n.makeDisk(); err != nil {
		return nil, err
	}
	if n.disk, err = image.Find(image.FindOptions{Disk: n.loop, Labels: image.DefaultLabels()}); err != nil {
		return nil, err
	}
	check := "#!/bin/sh\ntest ! -e " + n.run("unhealthy") + " || { echo broken >&2; exit 1; }\n"
	return n, errors.Join(
		os.WriteFile(filepath.Join(dir, "agent.yaml"), []byte(n.config()), 0o600),
		os.WriteFile(filepath.Join(dir, "health", "required.d", "check"), []byte(check), 0o700))
}

// run is a place in the folder that a snapshot covers.
func (n *node) run(name string) string { return filepath.Join(n.dir, "run", name) }

func (n *node) config() string {
	return fmt.Sprintf(`channel: %s
root: %s
state_dir: %s
disk: %s
priority: normal
health:
  deadline: 1m
  interval: 1m
  timeout: 1m
  containerd: {enabled: false}
  api_server: {enabled: false}
  node_ready: {enabled: false}
  drop_in: {enabled: true, dir: %s}
reboot:
  sentinel: %s
  command: [touch, %s]
`, channel, n.path("root.json"), n.run("state"), n.loop, filepath.Join(n.dir, "health"), n.run(sentinel), n.run("rebooted"))
}

func (n *node) makeDisk() (err error) {
	esp := filepath.Join(n.dir, "esp")
	if err := os.MkdirAll(filepath.Join(esp, "grub"), 0o700); err != nil {
		return err
	}
	cfg, err := grub.Config(grub.ConfigOptions{Timeout: -1, RebootAfter: -1})
	if err != nil {
		return err
	}
	if err := errors.Join(n.makeHelper(),
		os.WriteFile(filepath.Join(esp, "grub", "grub.cfg"), cfg, 0o600),
		os.WriteFile(filepath.Join(esp, "grub", grub.EnvFile), grub.InitialBlock(grub.SlotA), 0o600),
		os.WriteFile(filepath.Join(esp, "grub", grub.LastGoodFile), grub.LastGoodBlock(grub.SlotA), 0o600)); err != nil {
		return err
	}
	path := filepath.Join(n.dir, "disk")
	if n.file, err = os.Create(path); err != nil {
		return err
	}
	if err := n.file.Truncate((espMiB + 2*slotMiB + dataMiB + 2) << 20); err != nil {
		return err
	}
	table := fmt.Sprintf("label: gpt\nsize=%dM, name=EFI, type=U\nsize=%[2]dM, name=SYSTEM-A\nsize=%[2]dM, name=SYSTEM-B\nsize=%dM, name=DATA\n", espMiB, slotMiB, dataMiB)
	if _, err := output([]byte(table), "sfdisk", "-q", path); err != nil {
		return err
	}
	at := 1
	for _, p := range []struct {
		label, content string
		size           int
	}{{"EFI", esp, espMiB}, {"SYSTEM-A", n.path("slots", "1"), slotMiB}, {"SYSTEM-B", n.path("slots", "1"), slotMiB}} {
		part := filepath.Join(n.dir, p.label)
		if err := run("mke2fs", "-q", "-t", "ext4", "-L", p.label, "-d", p.content, part, fmt.Sprintf("%dM", p.size)); err != nil {
			return err
		}
		data, err := os.ReadFile(part)
		if err != nil {
			return err
		}
		if _, err := n.file.WriteAt(data, int64(at)<<20); err != nil {
			return err
		}
		at += p.size
	}
	if n.loop, err = output(nil, "losetup", "-f", "--show", path); err != nil {
		return err
	}
	_ = run("partx", "-d", n.loop) // what the device's last user could not take away
	return run("partx", "-a", n.loop)
}

func (n *node) close() {
	if n.loop != "" {
		_ = run("partx", "-d", n.loop)
		_ = run("losetup", "-d", n.loop)
	}
	if n.file != nil {
		n.file.Close()
	}
}

// command returns how a program of this node is started, on a machine that was booted
// as the snapshot says.
func (n *node) command(b booted, traced bool, args []string) []string {
	argv := []string{n.launch}
	if traced {
		argv = append(argv, "-trace")
	}
	return append(append(argv, "-over", b.cmdline+"=/proc/cmdline", "-over", b.kernelID+"=/proc/sys/kernel/random/boot_id",
		n.agent), args...)
}

// booted are the files that say how the machine was booted.
type booted struct{ cmdline, kernelID string }

func (n *node) booted() booted {
	return booted{filepath.Join(n.dir, "run", "cmdline"), filepath.Join(n.dir, "run", "boot_id")}
}

// arguments adds to a verb and its flags where this node's things are.
func (n *node) arguments(newest string, command []string) []string {
	args := append([]string{command[0], "--config", filepath.Join(n.dir, "agent.yaml"), "--server", n.url(newest)}, command[1:]...)
	return append(args, "--json")
}

// traced runs the agent and kills it at a point.
func (n *node) traced(newest string, command []string, at trace.Point) (trace.Result, error) {
	return trace.Run(n.command(n.booted(), true, n.arguments(newest, command)), at)
}

// answer is what a run of the agent came to.
type answer struct {
	code   int
	out    []byte
	errors string
}

// reason is the reason code that it gave, if it gave one.
func (a answer) reason() string {
	_, rest, _ := strings.Cut(a.errors, `"reason": "`)
	reason, _, _ := strings.Cut(rest, `"`)
	return reason
}

func (a answer) String() string { return fmt.Sprintf("exit code %d: %s", a.code, a.errors) }

// plain runs the agent to its end.
func (n *node) plain(newest string, command ...string) (answer, error) {
	argv := n.command(n.booted(), false, n.arguments(newest, command))
	var out, errs strings.Builder
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return answer{}, err
	}
	return answer{cmd.ProcessState.ExitCode(), []byte(out.String()), errs.String()}, nil
}
