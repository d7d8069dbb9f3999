package lab

import (
	"strings"

	"tufboot/e2e/machine"
)

// WithWatchdog returns the lab with a kernel that has the driver of the watchdog that
// machine.Options.Watchdog puts into a machine.
func (l *Lab) WithWatchdog() (*Lab, error) {
	watched := *l
	var err error
	if watched.Kernel, err = machine.FindWatchdogKernel(); err != nil {
		return nil, err
	}
	watched.base, err = watched.baseInitramfs()
	return &watched, err
}

// WatchedRelease makes a release that is healthy, and during whose trial a watchdog is
// armed.
func (r *Repo) WatchedRelease(version string) (Release, error) {
	return r.configured(version, "watchdog: {device: /dev/watchdog0, timeout: 10s}\n", machine.Tree{})
}

// hang hangs in three ways, one a trial boot, each as soon as the watchdog is armed.
const hang = `#!/bin/sh
until grep -q '^active' /sys/class/watchdog/watchdog0/state; do sleep 0.1; done
case $(cat /proc/cmdline) in
*tufboot.try=1*)
	echo 'node: hangs: user space stands still' >/dev/console
	kill -STOP $(pidof agent) ;;
*tufboot.try=2*)
	echo 'node: hangs: the kernel stands still' >/dev/console
	echo c >/proc/sysrq-trigger ;;
*)
	echo 'node: hangs: init sleeps' >/dev/console ;;
esac
while :; do sleep 1000; done
`

// HangingRelease makes a release that hangs before its health gate is started: user
// space with all that is in it; the kernel, which after a panic waits for ever; init
// alone.
func (r *Repo) HangingRelease(version string) (Release, error) {
	extra := machine.Tree{}
	extra.AddFile("etc/init.d/local", []byte(hang), 0o755)
	rel, err := r.configured(version, "watchdog: {device: /dev/watchdog0, timeout: 10s, limit: 5s}\n", extra)
	rel.Cmdline = strings.Replace(rel.Cmdline, "panic=1", "panic=0", 1)
	return rel, err
}

// WaitingRelease makes a release that is healthy as soon as /data/healthy is there, and
// whose gate waits for that.
func (r *Repo) WaitingRelease(version string) (Release, error) {
	extra := machine.Tree{}
	extra.AddFile("etc/tufboot/health/required.d/10-workload", []byte("#!/bin/sh\n[ -e /data/healthy ]\n"), 0o755)
	extra.AddFile("etc/default/tufboot-gate", []byte("DEADLINE=600\n"), 0o644)
	return r.release(version, r.lab.Kernel.Image, extra)
}

// OrderlyUnhealthyRelease makes a release that is not healthy, and whose gate has the
// machine rebooted in good order.
func (r *Repo) OrderlyUnhealthyRelease(version string) (Release, error) {
	extra := machine.Tree{}
	extra.AddFile("etc/tufboot/health/required.d/10-workload", []byte(failingCheck), 0o755)
	return r.configured(version, "reboot: {command: [reboot]}\n", extra)
}

// configured makes a release with more in the agent's configuration.
func (r *Repo) configured(version, more string, extra machine.Tree) (Release, error) {
	extra.AddFile(configFile, append(agentConfig(r.Server), more...), 0o644)
	return r.release(version, r.lab.Kernel.Image, extra)
}
