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

// cmdline is what all releases boot with: everything on the serial console, few
// kernel messages (each takes time on an emulated serial line), and a reboot
// one second after a panic instead of GRUB's ten.
const cmdline = "console=ttyS0 quiet panic=1"

// GoodRelease makes a release that boots and is healthy.
func (l *Lab) GoodRelease(version string) (Release, error) {
	return l.release(version, l.Kernel.Image, machine.Tree{})
}

// UnhealthyRelease makes a release that boots, and whose required health check
// always fails.
func (l *Lab) UnhealthyRelease(version string) (Release, error) {
	extra := machine.Tree{}
	extra.AddFile("etc/tufboot/health/required.d/10-workload", []byte("#!/bin/sh\necho 'the workload does not answer' >&2\nexit 1\n"), 0o755)
	return l.release(version, l.Kernel.Image, extra)
}

// PanickingRelease makes a release whose kernel panics, because its PID 1 ends.
func (l *Lab) PanickingRelease(version string) (Release, error) {
	extra := machine.Tree{}
	extra.AddFile("init", []byte("#!/bin/busybox sh\necho \"node: release "+version+" ends at once\"\nexit 1\n"), 0o755)
	return l.release(version, l.Kernel.Image, extra)
}

// GarbageRelease makes a release whose kernel is no kernel.
func (l *Lab) GarbageRelease(version string) (Release, error) {
	kernel := filepath.Join(l.Dir, "releases", version+".vmlinuz")
	if err := os.MkdirAll(filepath.Dir(kernel), 0o755); err != nil {
		return Release{}, err
	}
	garbage := make([]byte, 1<<20)
	copy(garbage, "this is no kernel")
	if err := os.WriteFile(kernel, garbage, 0o644); err != nil {
		return Release{}, err
	}
	return l.release(version, kernel, machine.Tree{})
}

// release writes the initramfs of a release: the common archive, followed by a
// small one with what this release adds. The kernel unpacks both in order.
func (l *Lab) release(version, kernel string, extra machine.Tree) (Release, error) {
	extra.AddFile("etc/tufboot-release", []byte(version+"\n"), 0o644)
	file := filepath.Join(l.Dir, "releases", version+".initramfs")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return Release{}, err
	}
	data := append(append([]byte(nil), l.base...), extra.CPIO()...)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return Release{}, fmt.Errorf("release %s: %w", version, err)
	}
	return Release{Version: version, Kernel: kernel, Initramfs: file, Cmdline: cmdline}, nil
}
