package build_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tufboot/image"
	"tufboot/image/build"
)

// tool runs a program and returns what it prints; pkg is its Debian package.
func tool(t *testing.T, pkg, name string, args ...string) []byte {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin", "/sbin"} {
		path, err := exec.LookPath(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		var errs bytes.Buffer
		cmd := exec.Command(path, args...)
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, &errs)
		}
		return out
	}
	t.Fatalf("%s is needed: apt install %s", name, pkg)
	return nil
}

// small returns options for a small disk whose kernel and initramfs are just
// bytes.
func small(t *testing.T) build.Options {
	t.Helper()
	return smallIn(t, t.TempDir())
}

func smallIn(t *testing.T, dir string) build.Options {
	t.Helper()
	o := build.Options{
		Output:    filepath.Join(dir, "disk.img"),
		Kernel:    filepath.Join(dir, "kernel with blanks"),
		Initramfs: filepath.Join(dir, "initramfs"),
		Manifest:  []byte("{\"version\":\"v1\"}\n"),
		Cmdline:   "console=ttyS0 quiet",
		Beside:    map[string][]byte{"vmlinuz.chunks": []byte("map"), "initramfs.chunks": []byte("another map")},
		Data: map[string][]byte{
			"tufboot/root.json":      []byte("root"),
			"tufboot/etc/agent.yaml": []byte("server: x\n"),
			"empty":                  nil,
		},
		SlotSize: 40 * build.MiB,
		DataSize: 24 * build.MiB,
		EFISize:  40 * build.MiB,
		Seed:     "test",
		Time:     time.Unix(1700000000, 0),
	}
	for path, mark := range map[string]string{o.Kernel: "kernel ", o.Initramfs: "initramfs "} {
		if err := os.WriteFile(path, bytes.Repeat([]byte(mark), 400_000), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func mustBuild(t *testing.T, o build.Options) *build.Result {
	t.Helper()
	r, err := build.Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// extract copies a partition into a file of its own.
func extract(t *testing.T, disk string, p image.Partition) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), p.Name)
	tool(t, "coreutils", "dd", "if="+disk, "of="+out, "bs=1M", "conv=sparse", "status=none",
		fmt.Sprintf("skip=%d", p.Start/build.MiB), fmt.Sprintf("count=%d", p.Size/build.MiB))
	return out
}

func TestBuild(t *testing.T) {
	o := small(t)
	r := mustBuild(t, o)
	t.Run("result", func(t *testing.T) {
		if st, err := os.Stat(o.Output); err != nil || st.Size() != r.Size || r.Output != o.Output {
			t.Errorf("the image: %v; result %+v", err, r)
		}
		if want := []string{"x86_64-efi", "i386-pc"}; !slices.Equal(r.Firmware, want) || len(r.Warnings) > 0 {
			t.Errorf("firmware %q, warnings %q", r.Firmware, r.Warnings)
		}
		var names []string
		for _, p := range r.Partitions {
			names = append(names, p.Name)
		}
		if !slices.Equal(names, []string{"EFI", "SYSTEM-A", "SYSTEM-B", "DATA"}) {
			t.Errorf("partitions %q", names)
		}
	})
	t.Run("partition table", func(t *testing.T) { checkTable(t, o.Output, r) })
	t.Run("EFI", func(t *testing.T) {
		fs := extract(t, o.Output, r.Partitions[0])
		if out := tool(t, "dosfstools", "fsck.vfat", "-nv", fs); !bytes.Contains(out, []byte("2 FATs, 32 bit entries")) {
			t.Errorf("not FAT32:\n%s", out)
		}
		// Each block in one piece, and where its first sector is written whole.
		for _, name := range []string{"grubenv", "last-good"} {
			out := tool(t, "grub-common", "grub-fstest", o.Output, "blocklist", "(loop0,gpt1)/grub/"+name)
			if !strings.HasSuffix(strings.TrimSpace(string(out)), "+2") || bytes.Contains(out, []byte(",")) {
				t.Errorf("%s lies in %s", name, out)
			}
		}
	})
	t.Run("slots", func(t *testing.T) {
		for i, p := range r.Partitions[1:3] {
			checkExt4(t, extract(t, o.Output, p), p.Name)
			for name, want := range map[string][]byte{
				"vmlinuz":          mustRead(t, o.Kernel),
				"initramfs":        mustRead(t, o.Initramfs),
				"vmlinuz.chunks":   o.Beside["vmlinuz.chunks"],
				"initramfs.chunks": o.Beside["initramfs.chunks"],
				"release.json":     o.Manifest,
			} {
				got := tool(t, "grub-common", "grub-fstest", o.Output, "cat", fmt.Sprintf("(loop0,gpt%d)/%s", 2+i, name))
				if !bytes.Equal(got, want) {
					t.Errorf("%s: GRUB reads other bytes from %s", p.Name, name)
				}
			}
			got := tool(t, "grub-common", "grub-fstest", o.Output, "cat", fmt.Sprintf("(loop0,gpt%d)/cmdline.cfg", 2+i))
			if !bytes.Contains(got, []byte(o.Cmdline)) {
				t.Errorf("%s: cmdline.cfg has %q", p.Name, got)
			}
		}
	})
	t.Run("DATA", func(t *testing.T) {
		fs := extract(t, o.Output, r.Partitions[3])
		checkExt4(t, fs, "DATA")
		for name, want := range o.Data {
			if got := tool(t, "e2fsprogs", "debugfs", "-R", "cat /"+name, fs); !bytes.Equal(got, want) {
				t.Errorf("%s has %q", name, got)
			}
			out := string(tool(t, "e2fsprogs", "debugfs", "-R", "stat /"+name, fs))
			if !strings.Contains(out, "Mode:  0600") || !strings.Contains(out, "User:     0   Group:     0") {
				t.Errorf("%s:\n%s", name, out)
			}
		}
	})
	t.Run("temporary files", func(t *testing.T) {
		left, err := filepath.Glob(filepath.Join(filepath.Dir(o.Output), ".*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%q, %v", left, err)
		}
	})
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkTable has two other programs look at the partition table.
func checkTable(t *testing.T, disk string, r *build.Result) {
	t.Helper()
	if out := tool(t, "gdisk", "sgdisk", "-v", disk); !bytes.Contains(out, []byte("No problems found")) {
		t.Errorf("sgdisk:\n%s", out)
	}
	tool(t, "fdisk", "sfdisk", "--verify", disk)
	dump := strings.ToLower(string(tool(t, "fdisk", "sfdisk", "-d", disk)))
	for _, p := range r.Partitions {
		for _, want := range []string{
			fmt.Sprintf("start=%12d, size=%12d", p.Start/512, p.Size/512),
			"uuid=" + p.UUID,
			strings.ToLower(fmt.Sprintf("name=%q", p.Name)),
		} {
			if !strings.Contains(dump, want) {
				t.Errorf("partition %s: %q is not in\n%s", p.Name, want, dump)
			}
		}
	}
	if !strings.Contains(dump, "first-lba: 2048") {
		t.Error("the core image lies where a partition could be made")
	}
}

// checkExt4 checks a file system and that it has exactly the features that are
// known to be read by GRUB 2.06.
func checkExt4(t *testing.T, fs, label string) {
	t.Helper()
	tool(t, "e2fsprogs", "e2fsck", "-fn", fs)
	const features = "has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super large_file huge_file dir_nlink extra_isize metadata_csum"
	head := string(tool(t, "e2fsprogs", "dumpe2fs", "-h", fs))
	for _, want := range []string{"Filesystem features:      " + features + "\n", "Filesystem volume name:   " + label + "\n"} {
		if !strings.Contains(head, want) {
			t.Errorf("%q is not in\n%s", want, head)
		}
	}
}

// The same inputs give the same bytes, whoever builds, where, and with which
// umask; another seed gives other GUIDs.
func TestBuildIsReproducible(t *testing.T) {
	first, second := small(t), small(t)
	one := mustBuild(t, first)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	for _, path := range []string{second.Kernel, second.Initramfs} {
		if err := errors.Join(os.Chmod(path, 0o600), os.Chtimes(path, time.Now(), time.Unix(1, 0))); err != nil {
			t.Fatal(err)
		}
	}
	mustBuild(t, second)
	if !bytes.Equal(mustRead(t, first.Output), mustRead(t, second.Output)) {
		t.Error("two builds differ")
	}
	// Builds in the same second say nothing about the clock.
	t.Setenv("TZ", "UTC")
	for _, p := range one.Partitions[1:] {
		head := tool(t, "e2fsprogs", "dumpe2fs", "-h", extract(t, first.Output, p))
		if !bytes.Contains(head, []byte("Filesystem created:       Tue Nov 14 22:13:20 2023")) {
			t.Errorf("%s has another date:\n%s", p.Name, head)
		}
	}
	listing := tool(t, "mtools", "mdir", "-/", "-i", fmt.Sprintf("%s@@%d", first.Output, one.Partitions[0].Start), "::")
	if n := bytes.Count(listing, []byte("2023-11-14")); n == 0 || bytes.Count(listing, []byte("-11-")) != n {
		t.Errorf("files of another date on the EFI partition:\n%s", listing)
	}
	second.Seed = ""
	two := mustBuild(t, second)
	for i := range one.Partitions {
		if one.Partitions[i].UUID == two.Partitions[i].UUID {
			t.Errorf("partition %s has the same GUID on both disks", one.Partitions[i].Name)
		}
	}
}

// asNobody is set in a copy of the test program that runs as an ordinary user.
const asNobody = "TUFBOOT_TEST_BUILD_IN"

// TestBuildNeedsNoRoot builds a disk as user nobody.
func TestBuildNeedsNoRoot(t *testing.T) {
	if dir := os.Getenv(asNobody); dir != "" {
		mustBuild(t, smallIn(t, dir))
		return
	}
	if os.Geteuid() != 0 {
		mustBuild(t, small(t))
		return
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "tufboot-nobody-") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "build.test")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(program, mustRead(t, self), 0o755), os.Chmod(program, 0o755), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^TestBuildNeedsNoRoot$")
	cmd.Dir = dir
	cmd.Env = []string{asNobody + "=" + dir, "PATH=/usr/bin:/bin", "TMPDIR=" + dir} // an ordinary user's PATH
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
}

func TestMissingTool(t *testing.T) {
	o := small(t)
	t.Setenv("PATH", t.TempDir())
	_, err := build.Build(t.Context(), o)
	var missing *build.MissingToolError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"mcopy", "grub-mkimage"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %q", want, err)
		}
	}
	if !strings.Contains(missing.Hint(), "apt install ") {
		t.Errorf("hint %q", missing.Hint())
	}
}

func TestFirmwareFlavours(t *testing.T) {
	tests := []struct {
		name, arch string
		have       []string
		firmware   []string
		warnings   int
	}{
		{"both", "amd64", []string{"x86_64-efi", "i386-pc"}, []string{"x86_64-efi", "i386-pc"}, 0},
		{"UEFI only", "amd64", []string{"x86_64-efi"}, []string{"x86_64-efi"}, 1},
		{"BIOS only", "amd64", []string{"i386-pc"}, []string{"i386-pc"}, 1},
		{"none", "amd64", nil, nil, 0},
		{"those of another architecture", "arm64", []string{"x86_64-efi", "i386-pc"}, nil, 0},
		{"unknown architecture", "riscv64", []string{"x86_64-efi", "i386-pc"}, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := small(t)
			o.Arch, o.GrubDir = tt.arch, t.TempDir()
			for _, platform := range tt.have {
				if err := os.Symlink("/usr/lib/grub/"+platform, filepath.Join(o.GrubDir, platform)); err != nil {
					t.Fatal(err)
				}
			}
			r, err := build.Build(t.Context(), o)
			if tt.firmware == nil {
				var none *build.NoFirmwareError
				if !errors.As(err, &none) || none.Hint() == "" {
					t.Fatalf("got %v, %v", r, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.Firmware, tt.firmware) || len(r.Warnings) != tt.warnings {
				t.Errorf("firmware %q, warnings %q", r.Firmware, r.Warnings)
			}
			disk := mustRead(t, o.Output)
			if hasCode := disk[0] != 0; hasCode != slices.Contains(tt.have, "i386-pc") {
				t.Errorf("boot code in sector 0: %t", hasCode)
			}
		})
	}
}

func TestBuildOptions(t *testing.T) {
	tests := map[string]func(*build.Options){
		"no kernel":           func(o *build.Options) { o.Kernel = "" },
		"kernel is not there": func(o *build.Options) { o.Kernel += "x" },
		"kernel is a folder":  func(o *build.Options) { o.Kernel = filepath.Dir(o.Kernel) },
		"no manifest":         func(o *build.Options) { o.Manifest = nil },
		"output is a folder":  func(o *build.Options) { o.Output = filepath.Dir(o.Output) },
		// A pipe stands for a device: were it accepted, a test run by root would
		// replace the device node.
		"output is no regular file": func(o *build.Options) {
			o.Output += ".pipe"
			if err := syscall.Mkfifo(o.Output, 0o600); err != nil {
				panic(err)
			}
		},
		"a slot's file outside": func(o *build.Options) { o.Beside = map[string][]byte{"../x": nil} },
		"DATA path outside":     func(o *build.Options) { o.Data = map[string][]byte{"../x": nil} },
		"DATA path absolute":    func(o *build.Options) { o.Data = map[string][]byte{"/x": nil} },
		"EFI too small for FAT": func(o *build.Options) { o.EFISize = 16 * build.MiB },
		"slot too small":        func(o *build.Options) { o.SlotSize = 4 * build.MiB },
		"negative slot":         func(o *build.Options) { o.SlotSize = -1 << 40 },
		"disk too small":        func(o *build.Options) { o.Size = 100 * build.MiB },
		"label twice":           func(o *build.Options) { o.Labels = image.Labels{EFI: "EFI", SystemA: "S", SystemB: "S", Data: "D"} },
		"label with a blank":    func(o *build.Options) { o.Labels = image.Labels{EFI: "EFI", SystemA: "S A", SystemB: "S", Data: "D"} },
		"label too long for FAT": func(o *build.Options) {
			o.Labels = image.Labels{EFI: "ABCDEFGHIJKL", SystemA: "A", SystemB: "B", Data: "D"}
		},
		"command line with a quote": func(o *build.Options) { o.Cmdline = "a='b'" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			o := small(t)
			if err := os.WriteFile(o.Output, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			output := o.Output
			change(&o)
			if _, err := build.Build(t.Context(), o); err == nil {
				t.Error("it was built")
			}
			if got := mustRead(t, output); string(got) != "old" {
				t.Error("the old output is gone")
			}
		})
	}
}

func TestBuildSizesAndLabels(t *testing.T) {
	o := small(t)
	o.Labels = image.Labels{EFI: "BOOT", SystemA: "sys-a", SystemB: "sys_b", Data: "state"}
	o.Size = 400*build.MiB + 12345
	o.SlotSize = 41*build.MiB - 1
	r := mustBuild(t, o)
	if r.Size != 400*build.MiB || r.Partitions[1].Size != 41*build.MiB {
		t.Errorf("sizes %+v", r)
	}
	if want := int64(400-1-1-40-2*41) * build.MiB; r.Partitions[3].Size != want {
		t.Errorf("DATA has %d bytes, not the rest, %d", r.Partitions[3].Size, want)
	}
	checkTable(t, o.Output, r)
	for _, p := range r.Partitions[1:] {
		checkExt4(t, extract(t, o.Output, p), p.Name)
	}
	config := tool(t, "grub-common", "grub-fstest", o.Output, "cat", "(loop0,gpt1)/grub/grub.cfg")
	if !bytes.Contains(config, []byte("sys-a")) || !bytes.Contains(config, []byte("sys_b")) {
		t.Error("grub.cfg looks for other labels")
	}
}

func TestBuildCancelled(t *testing.T) {
	o := small(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := build.Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(o.Output), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%q, %v", left, err)
	}
	if _, err := os.Stat(o.Output); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("output: %v", err)
	}
}
