package deploy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// guestInit is the init of the test machine: it lists what the kernel unpacked
// and powers off.
const guestInit = `package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

func main() {
	filepath.Walk("/", func(path string, info os.FileInfo, err error) error {
		if err != nil {
			fmt.Println("ENTRY error", path, err)
			return nil
		}
		text := ""
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			text, _ = os.Readlink(path)
		case info.Mode().IsRegular() && path != "/init":
			b, _ := os.ReadFile(path)
			text = string(b)
		}
		fmt.Printf("ENTRY %s %s %q\n", info.Mode(), path, text)
		return nil
	})
	fmt.Println("LISTED")
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}
`

// buildStatic compiles one Go file to a static program.
func buildStatic(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), source, 0o644)
	out := filepath.Join(dir, "program")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", out, filepath.Join(dir, "main.go"))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return out
}

// kernel returns a kernel of the machine that QEMU can boot.
func kernel(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/boot/vmlinuz-*")
	if len(found) == 0 {
		t.Fatal("a kernel is needed: install the package linux-image-cloud-amd64")
	}
	slices.Sort(found)
	return found[len(found)-1]
}

// boot boots the initramfs in QEMU and returns what the console said up to the
// power off.
func boot(t *testing.T, initramfs string) string {
	t.Helper()
	qemu := needTool(t, "qemu-system-x86_64", "qemu-system-x86")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, "-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "stdio", "-kernel", kernel(t), "-initrd", initramfs, "-append", "console=ttyS0 quiet panic=-1 tufboot.try=0")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	if _, err := io.Copy(&console, pipe); err != nil { // ends with QEMU: power off, or a panic with -no-reboot
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, console.String())
	}
	return strings.ReplaceAll(console.String(), "\r", "")
}

// A real kernel unpacks what the tool makes: every format after every format, in
// one chain of ten segments, over a base where /bin and /usr/sbin are symbolic
// links, which must stay what they are.
func TestKernelUnpacksEveryFormatAfterEveryFormat(t *testing.T) {
	dir := parts(t)
	program := read(t, buildStatic(t, guestInit))
	entries := append(slices.Clone(baseEntries), entry{name: "init", mode: typeFile | 0o755, data: program},
		entry{name: "dev", mode: typeDir | 0o755}, entry{name: "odd", mode: typeFile | 0o600, data: "x"})
	write(t, filepath.Join(dir, "image"), string(pack(entries)), 0o644)

	// Every ordered pair of the three occurs: cc cg gg gz zz zc cz zg gc.
	chain := []string{"cpio", "gzip", "gzip", "zstd", "zstd", "cpio", "zstd", "gzip", "cpio"}
	for i, kind := range chain {
		write(t, filepath.Join(dir, "agent"), strings.Repeat("x", i)+kind, 0o755) // lengths that need every padding
		mustTool(t, dir, "--agent", "agent", "--root", "root.json", "--config", "agent.yaml", "--checks", "health",
			"--agent-path", fmt.Sprintf("/sbin/agent%d", i), "--compress", kind, "-o", "image", "image")
	}
	mustTool(t, dir, "--agent", "agent", "--root", "root.json", "--config", "agent.yaml", "-o", "image", "image")

	console := boot(t, filepath.Join(dir, "image"))
	if !strings.Contains(console, "LISTED") {
		t.Fatalf("the machine did not get as far as its init:\n%s", console)
	}
	want := []string{
		`Lrwxrwxrwx /bin "usr/bin"`, `Lrwxrwxrwx /usr/sbin "bin"`, `-rwxr-xr-x /usr/bin/tool "TOOL"`, `-rw-r--r-- /etc/hostname "base\n"`,
		fmt.Sprintf("-rwxr-xr-x /usr/bin/agent %q", strings.Repeat("x", 8)+"cpio"), // by way of /usr/sbin
		fmt.Sprintf("-rw-r--r-- /etc/tufboot/root.json %q", rootJSON),
		`-rw-r--r-- /etc/tufboot/agent.yaml "server: http://x\n"`,
		`-rwxr-xr-x /etc/tufboot/health/required.d/10-a "#!/bin/sh\n"`,
		`-rw-r--r-- /etc/tufboot/health/required.d/20-b "#!/bin/sh\n"`,
		`-rw------- /odd "x"`,
	}
	for i, kind := range chain {
		want = append(want, fmt.Sprintf("-rwxr-xr-x /sbin/agent%d %q", i, strings.Repeat("x", i)+kind))
	}
	for _, w := range want {
		if !strings.Contains(console, "ENTRY "+w+"\n") {
			t.Errorf("missing: %s", w)
		}
	}
	if t.Failed() {
		t.Logf("console:\n%s", console)
	}
}
