package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tufboot/e2e/machine"
)

// TestInitramfsTool boots an initramfs without the agent to which
// deploy/initramfs/tufboot-initramfs added it, in each of its formats.
func TestInitramfsTool(t *testing.T) {
	t.Parallel()
	turns <- struct{}{}
	defer func() { <-turns }()
	dir, err := os.MkdirTemp(shared.Dir, "initramfs-")
	if err != nil {
		t.Fatal(err)
	}
	repo, err := shared.NewRepo(t.Context(), "initramfs")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"base": baseArchive(t), "agent.yaml": "server: http://10.0.2.2:8080\n",
		"checks/required.d/10-always": "#!/bin/sh\nexit 0\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"cpio", "gzip", "zstd"} {
		t.Run(kind, func(t *testing.T) {
			cmd := exec.Command(shared.Source("deploy/initramfs/tufboot-initramfs"), "--compress", kind,
				"--agent", shared.Agent, "--root", filepath.Join(repo.Dir, "metadata/1.root.json"), "--config", "agent.yaml",
				"--checks", "checks", "--gate", shared.Source("deploy/init/tufboot-gate"), "-o", kind, "base")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("tufboot-initramfs: %v\n%s", err, out)
			}
			bootsWithAgent(t, dir, filepath.Join(dir, kind))
		})
	}
}

func bootsWithAgent(t *testing.T, dir, initramfs string) {
	m, err := machine.Start(machine.Options{
		Name: "initramfs", Firmware: machine.BIOS, Dir: dir,
		Kernel: shared.Kernel.Image, Initramfs: initramfs, Cmdline: machine.Cmdline,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Kill()
	if _, err := m.WaitBoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := m.Exec(t.Context(), "agent --version && agent status; ls -R /etc/tufboot; cat /etc/tufboot/agent.yaml; "+
		"/etc/tufboot/health/required.d/10-always && test -s /etc/tufboot/root.json && test -x /etc/init.d/tufboot-gate")
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != 0 {
		t.Errorf("the guest lacks what the tool should have added:\n%s%s", r.Stdout, r.Stderr)
	}
}

// baseArchive returns an initramfs that boots and has no agent.
func baseArchive(t *testing.T) string {
	t.Helper()
	tree, err := machine.BaseTree(shared.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	tree.AddFile("etc/tufboot-release", []byte("base\n"), 0o644)
	return string(tree.CPIO())
}
