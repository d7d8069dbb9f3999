package deploy_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// cgroups shows the control groups in which systemd keeps its units, in $DIR/cgroup.
const cgroups = `set -e
mount --make-rprivate /
mkdir -p "$DIR/cgroup"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	mount -t cgroup2 cgroup2 "$DIR/cgroup"
else
	mount -t cgroup -o none,name=systemd cgroup "$DIR/cgroup"
fi
`

// enter goes into a control group of its own and takes it for the root of all.
const enter = cgroups + `
mkdir "$DIR/cgroup/$GROUP"
echo 0 >"$DIR/cgroup/$GROUP/cgroup.procs"
umount "$DIR/cgroup"
exec unshare --cgroup sh -c "$CONTAINER"
`

// leave removes it.
const leave = cgroups + `find "$DIR/cgroup/$GROUP" -depth -type d -exec rmdir {} ';'`

// container makes the units' own root, of what this machine has, and starts systemd as
// its first process: in namespaces of its own, so that its reboot ends it and no more.
const container = `set -e
mount -t tmpfs tmpfs "$DIR/root"
cd "$DIR/root"
mkdir upper work new
mount -t overlay -o lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work overlay new
cd new
mount -t proc proc proc
mount --bind /proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
for device in null zero full random urandom tty; do
	touch dev/$device
	mount --bind /dev/$device dev/$device
done
touch dev/console
mount --bind "$DIR/console" dev/console
mount -t sysfs -o ro sysfs sys
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	mount -t cgroup2 cgroup2 sys/fs/cgroup
else
	mount -t tmpfs tmpfs sys/fs/cgroup
	mkdir sys/fs/cgroup/systemd
	mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mkdir -p var/lib/tufboot units
mount --bind "$DIR/out" mnt
cp "$DIR"/units/* units/
cp "$DIR/agent" usr/sbin/agent
exec env -i container=tufboot PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/units \
	chroot . /lib/systemd/systemd --system --log-target=console tufboot.try=1
`

// fakeAgent writes down what it is called for. GATE is what the gate does.
const fakeAgent = `#!/bin/bash
case "$*" in
*--give-back*)
	if [ -e /run/tufboot/trial-failed ]; then echo 'failed: counted'; else echo 'given back'; fi
	touch /var/lib/tufboot/state && echo 'the state can be written' ;;
*--reboot-on-failure*) GATE ;;
watchdog)
	echo 'watchdog armed'
	trap 'echo "watchdog ends"; exit 0' TERM
	sleep infinity & wait ;;
esac >>/mnt/log
`

// An operator's reboot while the gate asks, and one that nothing but a shutdown can bring
// about: the unit refuses to be stopped alone.
const waits = `trap 'echo "gate ends"; exit 1' TERM
	systemctl stop tufboot-give-back.service || echo 'give-back stays'
	systemctl --no-block SHUTDOWN
	sleep infinity & wait`

// TestTrialUnderSystemd boots the real systemd with the units of a trial boot, in a
// container, and lets it reboot.
func TestTrialUnderSystemd(t *testing.T) {
	inOrder := []string{"give-back stays", "gate ends", "given back", "the state can be written"}
	for name, tt := range map[string]struct {
		gate string
		want []string
	}{
		"clean reboot":  {strings.Replace(waits, "SHUTDOWN", "reboot", 1), inOrder},
		"switched off":  {strings.Replace(waits, "SHUTDOWN", "poweroff", 1), inOrder},
		"gate fails":    {"exit 5", []string{"failed: counted", "the state can be written"}},
		"gate is ended": {"kill -KILL $$", []string{"failed: counted", "the state can be written"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"root", "units", "out"} {
				if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, "console"), "", 0o644)
			write(t, filepath.Join(dir, "agent"), strings.Replace(fakeAgent, "GATE", tt.gate, 1), 0o755)
			trialUnits(t, filepath.Join(dir, "units"))
			if out, err := contained(dir, enter); !shutDown(err) {
				t.Errorf("%v\n%s%s", err, out, read(t, filepath.Join(dir, "console")))
			}
			if out, err := contained(dir, leave); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			got := strings.Split(strings.TrimSpace(read(t, filepath.Join(dir, "out/log"))), "\n")
			got = slices.DeleteFunc(got, func(line string) bool { return strings.HasPrefix(line, "watchdog") })
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q\n%s", got, tt.want, read(t, filepath.Join(dir, "console")))
			}
		})
	}
}

// contained runs a script in namespaces of its own.
func contained(dir, script string) ([]byte, error) {
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), "DIR="+dir, "CONTAINER="+container, fmt.Sprintf("GROUP=tufboot-test-%d", os.Getpid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	return cmd.CombinedOutput()
}

// shutDown reports whether a first process has rebooted its namespace or switched it
// off (reboot(2), "Behavior inside PID namespaces").
func shutDown(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	signal := exit.Sys().(syscall.WaitStatus).Signal()
	return signal == syscall.SIGHUP || signal == syscall.SIGINT
}

// trialUnits puts the units of a trial boot into dir, enabled, and those of systemd that
// boot and reboot.
func trialUnits(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"healthcheck.service", "give-back.service", "trial-failed.service", "trial-deadline.timer", "watchdog.service"} {
		name = "tufboot-" + name
		write(t, filepath.Join(dir, name), read(t, filepath.Join(unitDir, name)), 0o644)
	}
	for _, name := range []string{
		"basic", "sysinit", "multi-user", "shutdown", "reboot", "final", "umount", "sockets", "timers", "paths", "slices",
		"local-fs", "local-fs-pre", "rescue", "emergency", "swap", "poweroff",
	} {
		write(t, filepath.Join(dir, name+".target"), read(t, "/lib/systemd/system/"+name+".target"), 0o644)
	}
	for _, name := range []string{"systemd-reboot.service", "systemd-poweroff.service"} {
		write(t, filepath.Join(dir, name), read(t, "/lib/systemd/system/"+name), 0o644)
	}
	write(t, filepath.Join(dir, "default.target"), `[Unit]
Requires=multi-user.target
After=multi-user.target
Wants=tufboot-healthcheck.service tufboot-give-back.service tufboot-watchdog.service tufboot-trial-deadline.timer
AllowIsolate=yes
`, 0o644)
}
