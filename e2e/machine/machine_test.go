package machine

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCommandChannel boots a guest without boot loader and disks, and shows
// that the command channel brings back what a command did and copes with a
// reboot.
func TestCommandChannel(t *testing.T) {
	kernel, err := FindKernel()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tree, err := BaseTree(kernel)
	if err != nil {
		t.Fatal(err)
	}
	tree.AddFile("etc/tufboot-release", []byte("v0\n"), 0o644)
	packed, err := Zstd(tree.CPIO())
	if err != nil {
		t.Fatal(err)
	}
	initramfs := filepath.Join(dir, "initramfs")
	if err := os.WriteFile(initramfs, packed, 0o644); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	m, err := Start(Options{Name: "channel", Firmware: BIOS, Dir: dir, Kernel: kernel.Image, Initramfs: initramfs, Cmdline: Cmdline})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Kill)
	b, err := m.WaitBoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s after %s", b, time.Since(start))
	if b.Release != "v0" || b.Slot != "none" || b.Try != 0 {
		t.Errorf("the guest says that it is %+v", b)
	}
	r, err := m.Exec(t.Context(), "echo 'to stdout'; echo \"and stderr\" >&2; exit 7")
	if err != nil {
		t.Fatal(err)
	}
	if want := (Result{Status: 7, Stdout: "to stdout\n", Stderr: "and stderr\n"}); r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
	if _, err := m.Exec(t.Context(), "reboot -f; sleep 100"); err == nil {
		t.Error("a command that the reboot cut short seems to have ended well")
	}
	if _, err := m.WaitBoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err = m.Exec(t.Context(), "ifconfig eth0 && grep -q vfat /proc/filesystems"); err != nil || r.Status != 0 {
		t.Errorf("the guest lacks its network or file system: %v, %+v", err, r)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
