package build_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/image/build"
)

// bootInit is the whole system of the booted machine.
const bootInit = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
echo "TEST-REACHED $(/bin/busybox cat /proc/cmdline)"
/bin/busybox poweroff -f
`

// TestBoot boots a disk on both firmwares, up to the release's initramfs.
func TestBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("boots two machines; go test without -short does it")
	}
	kernels, err := filepath.Glob("/boot/vmlinuz-*")
	if err != nil || len(kernels) == 0 {
		t.Fatal("a kernel is needed: apt install linux-image-cloud-amd64 (Ubuntu: linux-image-virtual)")
	}
	o := small(t)
	o.Kernel, o.Initramfs = kernels[len(kernels)-1], bootInitramfs(t)
	o.SlotSize = 64 * build.MiB
	o.Grub.Timeout = 1
	r := mustBuild(t, o)
	for _, firmware := range []string{"BIOS", "UEFI"} {
		t.Run(firmware, func(t *testing.T) {
			screen := boot(t, firmware, o.Output)
			_, line, found := strings.Cut(screen, "TEST-REACHED ")
			if !found {
				t.Fatalf("the system was not reached:\n%s", screen)
			}
			line, _, _ = strings.Cut(line, "\n")
			for _, want := range []string{"tufboot.slot=A", "tufboot.try=0", "tufboot.esp=" + r.Partitions[0].UUID, "panic=10", o.Cmdline} {
				if !strings.Contains(line, want) {
					t.Errorf("%q is not in the kernel command line %q", want, line)
				}
			}
		})
	}
}

// TestBootWithoutConfig takes grub.cfg away: the machine must not stop at a
// prompt. QEMU ends when it reboots.
func TestBootWithoutConfig(t *testing.T) {
	if testing.Short() {
		t.Skip("boots two machines; go test without -short does it")
	}
	o := small(t)
	r := mustBuild(t, o)
	esp := fmt.Sprintf("%s@@%d", o.Output, r.Partitions[0].Start)
	if out, err := exec.Command("mdel", "-i", esp, "::/grub/grub.cfg").CombinedOutput(); err != nil {
		t.Fatalf("mdel: %v: %s", err, out)
	}
	for _, firmware := range []string{"BIOS", "UEFI"} {
		t.Run(firmware, func(t *testing.T) {
			boot(t, firmware, o.Output) // fails by the test's own time limit if the machine never reboots
		})
	}
}

func bootInitramfs(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "init"), []byte(bootInit), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is needed: apt install busybox-static")
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "busybox"), mustRead(t, busybox), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cpio", "--quiet", "-o", "-H", "newc")
	cmd.Dir, cmd.Stdin = root, strings.NewReader("init\nbin\nbin/busybox\n")
	archive, err := cmd.Output()
	if err != nil {
		t.Fatalf("cpio (apt install cpio): %v", err)
	}
	out := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(out, archive, 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// boot runs a machine until it switches itself off and returns its console.
func boot(t *testing.T, firmware, disk string) string {
	t.Helper()
	args := []string{"-machine", "q35,accel=tcg", "-m", "512", "-nographic", "-no-reboot", "-nic", "none",
		"-drive", "file=" + disk + ",format=raw,if=virtio,snapshot=on"}
	if firmware == "UEFI" {
		vars := filepath.Join(t.TempDir(), "vars")
		source, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
		if err != nil {
			t.Fatalf("%v (apt install ovmf)", err)
		}
		if err := os.WriteFile(vars, source, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
			"-drive", "if=pflash,format=raw,file="+vars)
	}
	cmd := exec.Command("qemu-system-x86_64", args...)
	var screen bytes.Buffer
	cmd.Stdout, cmd.Stderr = &screen, &screen
	if err := cmd.Run(); err != nil {
		t.Fatalf("qemu-system-x86_64 (apt install qemu-system-x86): %v\n%s", err, &screen)
	}
	return screen.String()
}
