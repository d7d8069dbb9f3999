package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const hook = "../initramfs/hooks/tufboot"

// sysroot is a folder that stands for a node's file system.
func sysroot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "usr/sbin/agent"), "AGENT", 0o755)
	write(t, filepath.Join(dir, "etc/tufboot/root.json"), rootJSON, 0o600)
	write(t, filepath.Join(dir, "etc/tufboot/agent.yaml"), "server: http://x\n", 0o600)
	write(t, filepath.Join(dir, "etc/tufboot/health/required.d/a"), "#!/bin/sh\n", 0o755)
	write(t, filepath.Join(dir, "etc/tufboot/health/wanted.d/b"), "#!/bin/sh\n", 0o644)
	write(t, filepath.Join(dir, "etc/ssl/certs/ca-certificates.crt"), "CA", 0o644)
	return dir
}

// runHook runs the hook as mkinitramfs does, with a folder for the result.
func runHook(t *testing.T, root string, args ...string) (dest, said string, err error) {
	t.Helper()
	if _, err := os.Stat("/usr/share/initramfs-tools/hook-functions"); err != nil {
		t.Fatal("the hook is tested with the real initramfs-tools: install the package initramfs-tools-core")
	}
	dest = t.TempDir()
	cmd := exec.Command(abs(t, hook), args...)
	cmd.Env = append(os.Environ(), "DESTDIR="+dest, "TUFBOOT_SYSROOT="+root)
	out, err := cmd.CombinedOutput()
	return dest, string(out), err
}

func TestHook(t *testing.T) {
	dest, said, err := runHook(t, sysroot(t))
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for path, want := range map[string]struct {
		data string
		mode os.FileMode
	}{
		"usr/sbin/agent":                    {"AGENT", 0o755},
		"etc/tufboot/root.json":             {rootJSON, 0o644},
		"etc/tufboot/agent.yaml":            {"server: http://x\n", 0o644},
		"etc/tufboot/health/required.d/a":   {"#!/bin/sh\n", 0o755},
		"etc/tufboot/health/wanted.d/b":     {"#!/bin/sh\n", 0o644},
		"etc/ssl/certs/ca-certificates.crt": {"CA", 0o644},
	} {
		info, err := os.Stat(filepath.Join(dest, path))
		if err != nil || info.Mode() != want.mode || read(t, filepath.Join(dest, path)) != want.data {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

// Without the binary, its root of trust or its configuration no initramfs is made.
func TestHookWantsWhatTheAgentNeeds(t *testing.T) {
	for _, path := range []string{"/usr/sbin/agent", "/etc/tufboot/root.json", "/etc/tufboot/agent.yaml"} {
		root := sysroot(t)
		if err := os.Remove(root + path); err != nil {
			t.Fatal(err)
		}
		if _, said, err := runHook(t, root); err == nil || !strings.Contains(said, path+" is missing") {
			t.Errorf("%s: %v, %s", path, err, said)
		}
	}
}

func TestHookPrerequisites(t *testing.T) {
	if dest, said, err := runHook(t, "/none", "prereqs"); err != nil || strings.TrimSpace(said) != "" {
		t.Errorf("%s: %v, %q", dest, err, said)
	}
}

// The real mkinitramfs runs the hook, and what it makes holds the files.
func TestHookInARealInitramfs(t *testing.T) {
	mkinitramfs := needTool(t, "mkinitramfs", "initramfs-tools-core")
	conf := t.TempDir()
	if err := os.CopyFS(conf, os.DirFS("/etc/initramfs-tools")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(conf, "hooks/tufboot"), read(t, hook), 0o755)
	out := filepath.Join(t.TempDir(), "initrd")
	version := strings.TrimPrefix(filepath.Base(kernel(t)), "vmlinuz-")
	cmd := exec.Command(mkinitramfs, "-d", conf, "-o", out, version)
	cmd.Env = append(os.Environ(), "TUFBOOT_SYSROOT="+sysroot(t))
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	list := output(t, needTool(t, "lsinitramfs", "initramfs-tools-core"), out)
	for _, path := range []string{"usr/sbin/agent", "etc/tufboot/root.json", "etc/tufboot/agent.yaml", "etc/tufboot/health/required.d/a"} {
		if !strings.Contains(list, path+"\n") {
			t.Errorf("%s is not in it", path)
		}
	}
}
