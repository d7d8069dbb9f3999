package lab

import (
	"fmt"
	"os"
	"path/filepath"

	"tufboot/e2e/machine"
)

// Release is a release as files on the host, ready to be published.
type Release struct {
	Version   string
	Kernel    string // path
	Initramfs string // path
	Cmdline   string
}

// GoodRelease makes a release that boots and is healthy.
func (r *Repo) GoodRelease(version string) (Release, error) {
	return r.release(version, r.lab.Kernel.Image, machine.Tree{})
}

// failingCheck tells the console once a boot, and its caller always.
const failingCheck = `#!/bin/sh
if mkdir /run/told 2>/dev/null; then
	echo 'node: the workload does not answer' >/dev/console
fi
echo 'the workload does not answer' >&2
exit 1
`

// UnhealthyRelease makes a release that boots, and whose required health check
// always fails.
func (r *Repo) UnhealthyRelease(version string) (Release, error) {
	extra := machine.Tree{}
	extra.AddFile("etc/tufboot/health/required.d/10-workload", []byte(failingCheck), 0o755)
	return r.release(version, r.lab.Kernel.Image, extra)
}

// PanickingRelease makes a release whose kernel panics, because its PID 1 ends.
func (r *Repo) PanickingRelease(version string) (Release, error) {
	extra := machine.Tree{}
	extra.AddFile("init", []byte("#!/bin/busybox sh\necho \"node: release "+version+" ends at once\"\nexit 1\n"), 0o755)
	return r.release(version, r.lab.Kernel.Image, extra)
}

// GarbageRelease makes a release whose kernel is no kernel.
func (r *Repo) GarbageRelease(version string) (Release, error) {
	kernel := r.file(version + ".vmlinuz")
	garbage := make([]byte, 1<<20)
	copy(garbage, "this is no kernel")
	if err := os.WriteFile(kernel, garbage, 0o644); err != nil {
		return Release{}, err
	}
	return r.release(version, kernel, machine.Tree{})
}

const configFile = "etc/tufboot/agent.yaml"

// release writes the initramfs of a release: the common archive, followed by a
// small one with the trusted root, the agent's configuration and what this
// release adds. The kernel unpacks both in order.
func (r *Repo) release(version, kernel string, extra machine.Tree) (Release, error) {
	root, err := os.ReadFile(filepath.Join(r.Dir, "metadata", "1.root.json"))
	if err != nil {
		return Release{}, err
	}
	extra.AddFile("etc/tufboot/root.json", root, 0o644)
	if _, own := extra[configFile]; !own {
		extra.AddFile(configFile, agentConfig(r.Server), 0o644)
	}
	extra.AddFile("etc/tufboot-release", []byte(version+"\n"), 0o644)
	file := r.file(version + ".initramfs")
	data := append(append([]byte(nil), r.lab.base...), extra.CPIO()...)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return Release{}, fmt.Errorf("release %s: %w", version, err)
	}
	return Release{Version: version, Kernel: kernel, Initramfs: file, Cmdline: machine.Cmdline}, nil
}
