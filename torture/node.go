package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tufboot/grub"
)

// node runs the agent on a disk as the machine's own system would after a boot: with
// the kernel's command line that GRUB made, and with DATA mounted, its journal
// replayed. A loop device shows the disk to the kernel. Not every kernel that this
// runs on can mount FAT, so the environment block and last-good are handed to the agent
// as files and put back onto the disk.
type node struct {
	disk   *disk
	loop   string // such as /dev/loop0
	dir    string // files of the running system
	agent  string // path of the program
	envAt  int64  // where the environment block is on the disk, in bytes
	goodAt int64  // and last-good
}

// blockFiles are the two blocks on the ESP, as files of the node.
func (n *node) blockFiles() map[string]int64 {
	return map[string]int64{filepath.Join(n.dir, "grub", grub.EnvFile): n.envAt, filepath.Join(n.dir, "grub", grub.LastGoodFile): n.goodAt}
}

// agentConfig is the agent's configuration on a node: of the health checks only the
// drop-in ones, which decide at once.
const agentConfig = `server: %[2]s
root: %[3]s/metadata/1.root.json
state_dir: %[1]s/data/tufboot
grubenv: %[1]s/grub/grubenv
disk: %[4]s
priority: normal
reboot: {sentinel: %[1]s/reboot-required}
health:
  deadline: 1ms
  interval: 1ms
  containerd: {enabled: false}
  api_server: {enabled: false}
  node_ready: {enabled: false}
  drop_in: {enabled: true, dir: %[1]s/health}
`

// newNode attaches a disk, and keeps the system's files in the folder dir.
func newNode(dir string, d *disk, agent string, r *recording) (n *node, err error) {
	n = &node{disk: d, dir: dir, agent: agent, envAt: r.envAt, goodAt: r.goodAt}
	for _, sub := range []string{"grub", "data", "health/required.d"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	if n.loop, err = attach(d.path); err != nil {
		return nil, err
	}
	// Nothing is read ahead: what is read is remembered as what the answer depends on.
	if out, err := exec.Command("blockdev", "--setra", "0", n.loop).CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("blockdev: %w: %s", err, out), n.close())
	}
	config := fmt.Sprintf(agentConfig, dir, r.server, r.repo, n.loop)
	err = errors.Join(os.WriteFile(filepath.Join(dir, "agent.yaml"), []byte(config), 0o644),
		os.WriteFile(filepath.Join(dir, "run"), []byte(runScript), 0o755))
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// attach attaches a file to a loop device, with its partitions. (losetup -P asks the
// kernel for them, and not every kernel knows a GPT.) A device whose last user was
// killed may be in use yet: then another is taken.
func attach(file string) (loop string, err error) {
	for range 5 {
		var out []byte
		out, err = exec.Command("losetup", "--show", "-f", file).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("losetup: %w: %s", err, out)
		}
		loop = strings.TrimSpace(string(out))
		if out, err = exec.Command("partx", "-a", loop).CombinedOutput(); err == nil {
			return loop, nil
		}
		err = fmt.Errorf("partx: %w: %s", err, out)
		defer detach(loop) //nolint:errcheck // only when another is attached, which is then another one
	}
	return "", err
}

// detach also is for a device without some of its partitions, so partx may fail.
func detach(loop string) error {
	_ = exec.Command("partx", "-d", loop).Run()
	if out, err := exec.Command("losetup", "-d", loop).CombinedOutput(); err != nil {
		return fmt.Errorf("losetup: %w: %s", err, out)
	}
	return nil
}

func (n *node) close() error { return detach(n.loop) }

// runScript runs the agent with each of its arguments in turn, in a mount namespace
// of its own, and leaves outputs and exit codes in N.out, N.err and N.code. A node goes
// on without DATA if it has to; forgot tells why.
const runScript = `#!/bin/sh
cd "$1" && device=$2 agent=$3 && shift 3 || exit 1
mount --bind cmdline /proc/cmdline || exit 1
rm -f forgot
if ! mount -t ext4 "$device" data 2>forgot; then
	mount -t tmpfs tmpfs data || exit 1
fi
number=0
for verb; do
	$agent $verb --json --config agent.yaml >$number.out 2>$number.err
	echo $? >$number.code
	number=$((number + 1))
done
umount data || exit 1
`

// answer is what the agent answered to one verb.
type answer struct {
	code           int
	stdout, stderr string
}

func (a answer) String() string {
	return fmt.Sprintf("exit code %d: %s", a.code, strings.TrimSpace(a.stderr+a.stdout))
}

// run has the agent do one verb after the other in a boot. unwell is whether the
// required health check fails. The blocks that the agent left are on the disk then.
// forgot tells why it had to do without DATA; "": it had it.
func (n *node) run(ctx context.Context, b boot, unwell bool, verbs ...string) (answers []answer, forgot string, err error) {
	if err := n.prepare(b, unwell); err != nil {
		return nil, "", err
	}
	args := append([]string{n.dir, n.loop + "p4", n.agent}, verbs...)
	cmd := exec.CommandContext(ctx, filepath.Join(n.dir, "run"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // the agent too
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return nil, "", ctx.Err()
	}
	if err != nil {
		return nil, "", fmt.Errorf("run the agent: %w: %s", err, bytes.TrimSpace(out))
	}
	for i := range verbs {
		a, err := n.answer(i)
		if err != nil {
			return nil, "", err
		}
		answers = append(answers, a)
	}
	why, err := os.ReadFile(filepath.Join(n.dir, "forgot"))
	return answers, strings.TrimSpace(string(why)), errors.Join(err, n.dropCaches(), n.takeBlocks())
}

// answer reads what the agent answered to the verb with a number.
func (n *node) answer(number int) (a answer, err error) {
	var code string
	for suffix, to := range map[string]*string{"out": &a.stdout, "err": &a.stderr, "code": &code} {
		b, err := os.ReadFile(filepath.Join(n.dir, fmt.Sprintf("%d.%s", number, suffix)))
		if err != nil {
			return a, err
		}
		*to = string(b)
	}
	_, err = fmt.Sscan(code, &a.code)
	return a, err
}

// prepare makes the running system's files for a boot.
func (n *node) prepare(b boot, unwell bool) error {
	for path, at := range n.blockFiles() {
		block, err := n.disk.read(at, grub.BlockSize)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, block, 0o600); err != nil {
			return err
		}
	}
	check := filepath.Join(n.dir, "health", "required.d", "10-workload")
	if err := os.RemoveAll(check); err != nil {
		return err
	}
	if unwell {
		if err := os.WriteFile(check, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(n.dir, "cmdline"), []byte(b.cmdline()+"\n"), 0o644); err != nil {
		return err
	}
	return n.dropCaches()
}

// takeBlocks puts the blocks that the agent changed back onto the disk.
func (n *node) takeBlocks() error {
	for path, at := range n.blockFiles() {
		now, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(now) != grub.BlockSize {
			return fmt.Errorf("%s has %d bytes", path, len(now))
		}
		before, err := n.disk.read(at, grub.BlockSize)
		if err != nil {
			return err
		}
		if bytes.Equal(before, now) {
			continue
		}
		if err := n.disk.write(at, now); err != nil {
			return err
		}
	}
	return nil
}

// dropCaches writes out and forgets what the kernel has cached of the disk, whose
// bytes change behind its back.
func (n *node) dropCaches() error {
	for _, suffix := range []string{"", "p1", "p2", "p3", "p4"} {
		f, err := os.OpenFile(n.loop+suffix, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("drop the cache of %s%s: %w", n.loop, suffix, err)
		}
	}
	return nil
}
