package image_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tufboot/image"
)

// testDisk is a real disk for the kernel: a loop device with a GPT and four
// ext4 file systems. (The EFI partition is ext4 as well, so that a kernel
// without FAT will do.)
type testDisk struct {
	t      *testing.T
	file   string // behind the loop device
	device string // /dev/loopN
}

// needRoot ends the test where it cannot prove anything.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it makes loop devices and mounts")
	}
}

// run runs a program; packages names the Debian package for the message.
func run(t *testing.T, pkg string, stdin string, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed: apt install %s", name, pkg)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// partitionMiB is the size of each partition of a test disk.
const partitionMiB = 16

// newDisk makes a disk with the given partition names.
func newDisk(t *testing.T, names ...string) *testDisk {
	t.Helper()
	return newDiskFrom(t, newDiskFile(t, names...))
}

// newDiskFile makes the file of such a disk.
func newDiskFile(t *testing.T, names ...string) string {
	t.Helper()
	needRoot(t)
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, int64(len(names)*partitionMiB+2)<<20); err != nil {
		t.Fatal(err)
	}
	script := "label: gpt\n"
	for i, name := range names {
		script += fmt.Sprintf("start=%dMiB, size=%dMiB, name=%q\n", 1+i*partitionMiB, partitionMiB, name)
	}
	run(t, "fdisk", script, "sfdisk", "-q", "--no-reread", "--no-tell-kernel", file)
	for i, name := range names {
		part := filepath.Join(t.TempDir(), "part")
		run(t, "e2fsprogs", "", "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^metadata_csum_seed,^orphan_file",
			"-L", name, part, fmt.Sprintf("%dM", partitionMiB))
		run(t, "coreutils", "", "dd", "if="+part, "of="+file, "bs=1M", fmt.Sprintf("seek=%d", 1+i*partitionMiB), "conv=notrunc,sparse", "status=none")
	}
	return file
}

// removePartitions fails if one is in use for longer than an agent of another test needs
// to look at it.
func removePartitions(t *testing.T, device string) {
	t.Helper()
	for range 100 {
		if exec.Command("partx", "-d", device).Run() == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("partitions of %s are in use", device)
}

// newDiskFrom shows a disk's file to the kernel.
func newDiskFrom(t *testing.T, file string) *testDisk {
	t.Helper()
	needRoot(t)
	d := &testDisk{t: t, file: file}
	d.device = run(t, "mount", "", "losetup", "--show", "-f", file)
	t.Cleanup(func() {
		removePartitions(t, d.device)
		run(t, "mount", "", "losetup", "-d", d.device)
	})
	// Whoever looked at all disks while the last user of this one removed its partitions
	// kept them from going.
	_ = exec.Command("partx", "-d", d.device).Run()
	run(t, "util-linux", "", "partx", "-a", d.device)
	return d
}

// labels are those of a complete disk.
func labels() []string { return []string{"EFI", "SYSTEM-A", "SYSTEM-B", "DATA"} }

// sysDir makes a sysfs with only the given disks, so that the machine's own
// disks and other tests' disks do not show.
func sysDir(t *testing.T, disks ...*testDisk) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "block"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range disks {
		name := filepath.Base(d.device)
		if err := os.Symlink(filepath.Join("/sys/block", name), filepath.Join(dir, "block", name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// find finds the partitions of d.
func (d *testDisk) find() *image.Disk {
	d.t.Helper()
	disk, err := image.Find(image.FindOptions{SysDir: sysDir(d.t, d), Disk: d.device})
	if err != nil {
		d.t.Fatal(err)
	}
	return disk
}

// slot returns slot B of a new disk, and the disk.
func newSlot(t *testing.T) (image.Partition, *testDisk) {
	t.Helper()
	d := newDisk(t, labels()...)
	return d.find().SystemB, d
}

// replaceOnDisk changes bytes in the file behind the loop device: what a drive
// does that stores something else than it was given. It returns how often old
// was found within partition p.
func (d *testDisk) replaceOnDisk(p image.Partition, old, replacement []byte) int {
	d.t.Helper()
	f, err := os.OpenFile(d.file, os.O_RDWR, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	content := make([]byte, p.Size)
	if _, err := f.ReadAt(content, p.Start); err != nil {
		d.t.Fatal(err)
	}
	count := bytes.Count(content, old)
	content = bytes.ReplaceAll(content, old, replacement)
	if _, err := f.WriteAt(content, p.Start); err != nil {
		d.t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		d.t.Fatal(err)
	}
	return count
}

// copyFile copies what is in the file behind the loop device now: what a power
// cut at this moment leaves.
func (d *testDisk) copyFile(to string) error {
	content, err := os.ReadFile(d.file)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

// mountAt mounts a device in this namespace until the test ends.
func mountAt(t *testing.T, device string, options string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "mount", "", "mount", "-t", "ext4", "-o", options, device, dir)
	t.Cleanup(func() { run(t, "mount", "", "umount", dir) })
	return dir
}

// whileMounted mounts a device in this namespace while fn runs.
func whileMounted(t *testing.T, device string, fn func(dir string)) {
	t.Helper()
	dir := t.TempDir()
	run(t, "mount", "", "mount", "-t", "ext4", device, dir)
	defer run(t, "mount", "", "umount", dir)
	fn(dir)
}
