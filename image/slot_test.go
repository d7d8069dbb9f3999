package image_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tufboot/image"
)

// pattern returns n bytes that repeat a mark with its position.
func pattern(mark string, n int) []byte {
	return bytes.Repeat([]byte(mark), n/len(mark)+1)[:n]
}

// write writes one file into a slot, as an update does.
func write(t *testing.T, p image.Partition, name string, content []byte) {
	t.Helper()
	err := image.WriteSlot(p, func(w *image.Writer) error {
		f, _, err := w.Partial(name, int64(len(content)))
		if err != nil {
			return err
		}
		if _, err := f.Write(content); err != nil {
			return err
		}
		return w.Commit(name)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// readBack returns a file of a slot.
func readBack(p image.Partition, name string) (content []byte, err error) {
	err = image.ReadBack(p, func(open func(string) (*image.SlotFile, error)) error {
		f, err := open(name)
		if err != nil {
			return err
		}
		content, err = io.ReadAll(f)
		return err
	})
	return content, err
}

func TestWriteAndReadBack(t *testing.T) {
	p, _ := newSlot(t)
	for _, size := range []int{0, 1, 4095, 4096, 4097, 1<<20 - 1, 1 << 20, 3<<20 + 7} {
		content := pattern("0123456789abc", size)
		write(t, p, "vmlinuz", content)
		got, err := readBack(p, "vmlinuz")
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes: read back %d other bytes, %v", size, len(got), err)
		}
		got, err = image.ReadSlotFile(p, "vmlinuz", int64(size))
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes: read %d other bytes, %v", size, len(got), err)
		}
	}
	if _, err := image.ReadSlotFile(p, "vmlinuz", 100); err == nil {
		t.Error("a file over the limit was read")
	}
	if _, err := image.ReadSlotFile(p, "nothing", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if _, err := readBack(p, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	for _, name := range []string{"../x", "a/b", "/etc/passwd", ".", ""} {
		if _, err := readBack(p, name); err == nil {
			t.Errorf("name %q was opened", name)
		}
	}
}

// GRUB reads the device without the journal. So after WriteSlot everything must
// be in its place: here GRUB's own file-system code reads the file behind the
// loop device.
func TestGrubReadsWhatWasWritten(t *testing.T) {
	p, d := newSlot(t)
	content := pattern("what GRUB will load ", 2<<20)
	write(t, p, "vmlinuz", content)
	if got := grubRead(t, d.file, "(loop0,gpt3)/vmlinuz"); !bytes.Equal(got, content) {
		t.Errorf("GRUB reads %d other bytes", len(got))
	}
}

func grubRead(t *testing.T, disk, path string) []byte {
	t.Helper()
	if _, err := exec.LookPath("grub-fstest"); err != nil {
		t.Fatal("grub-fstest is needed: apt install grub-common")
	}
	out, err := exec.Command("grub-fstest", disk, "cat", path).Output()
	if err != nil {
		t.Fatalf("grub-fstest %s: %v", path, err)
	}
	return out
}

// A drive that stored something else than it was given: the bytes are changed
// below the kernel's caches, while somebody keeps the device open, so that its
// cached blocks stay. ReadBack must see it, in the content and in the folder.
func TestReadBackSeesTheDevice(t *testing.T) {
	p, d := newSlot(t)
	content := pattern("written once ", 1<<20)
	write(t, p, "vmlinuz", content)
	keeper, err := os.Open(p.Device)
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Close()
	if _, err := io.Copy(io.Discard, keeper); err != nil { // fills the cache
		t.Fatal(err)
	}
	if got, err := readBack(p, "vmlinuz"); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("before: %v", err)
	}
	if d.replaceOnDisk(p, []byte("written once "), []byte("written WRONG")) == 0 {
		t.Fatal("the content is not on the disk")
	}
	got, err := readBack(p, "vmlinuz")
	if err != nil || !bytes.Contains(got, []byte("written WRONG")) || bytes.Contains(got, []byte("written once ")) {
		t.Errorf("read back what was given to the device, not what it has (error %v)", err)
	}
}

// The same in what the file system keeps about files: the name in the folder is
// changed on the device, and stays in the cached blocks.
func TestReadBackSeesTheDevicesFolder(t *testing.T) {
	d := newDiskFile(t, labels()...)
	// Without checksums of the metadata, so that the file system itself does
	// not notice.
	run(t, "e2fsprogs", "", "sh", "-c", `
		dd if="$1" of="$1.part" bs=1M skip=33 count=16 status=none &&
		tune2fs -O ^metadata_csum "$1.part" >/dev/null &&
		dd if="$1.part" of="$1" bs=1M seek=33 conv=notrunc status=none`, "-", d)
	disk := newDiskFrom(t, d)
	p := disk.find().SystemB
	// Open all the time, so that mounting does not reset the cache.
	keeper, err := os.Open(p.Device)
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Close()
	write(t, p, "vmlinuz", []byte("kernel"))
	if _, err := io.Copy(io.Discard, keeper); err != nil {
		t.Fatal(err)
	}
	if disk.replaceOnDisk(p, []byte("vmlinuz"), []byte("vmWRONG")) == 0 {
		t.Fatal("the name is not on the disk")
	}
	if got, err := readBack(p, "vmlinuz"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read back %q, %v: the cached folder answered", got, err)
	}
}

func TestSlotRefusals(t *testing.T) {
	nothing := func(*image.Writer) error { return nil }
	look := func(func(string) (*image.SlotFile, error)) error { return nil }
	tests := []struct {
		name    string
		prepare func(*testing.T, *image.Partition)
		reason  string
	}{
		{"mounted", func(t *testing.T, p *image.Partition) { mountAt(t, p.Device, "rw") }, image.ReasonSlotMounted},
		{"mounted read-only", func(t *testing.T, p *image.Partition) { mountAt(t, p.Device, "ro") }, image.ReasonSlotMounted},
		{"claimed by another program", func(t *testing.T, p *image.Partition) {
			f, err := os.OpenFile(p.Device, os.O_RDWR|unix.O_EXCL, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
		}, image.ReasonSlotMounted},
		{"no file system", func(t *testing.T, p *image.Partition) {
			run(t, "coreutils", "", "dd", "if=/dev/zero", "of="+p.Device, "bs=1M", "count=1", "status=none")
		}, image.ReasonWrongFilesystem},
		{"FAT", func(t *testing.T, p *image.Partition) {
			run(t, "dosfstools", "", "mkfs.vfat", "-n", p.Name, p.Device)
		}, image.ReasonWrongFilesystem},
		{"another label", func(t *testing.T, p *image.Partition) {
			run(t, "e2fsprogs", "", "e2label", p.Device, "OTHER")
		}, image.ReasonWrongFilesystem},
		{"a feature that GRUB cannot read", func(t *testing.T, p *image.Partition) {
			run(t, "e2fsprogs", "", "mke2fs", "-q", "-F", "-t", "ext4", "-O", "inline_data", "-L", p.Name, p.Device)
		}, image.ReasonWrongFilesystem},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := newSlot(t)
			tt.prepare(t, &p)
			wantRefusal(t, image.WriteSlot(p, nothing), tt.reason)
			wantRefusal(t, image.ReadBack(p, look), tt.reason)
		})
	}
}

// A mount in another mount namespace does not show in ours; the kernel's
// exclusive open is what finds it.
func TestWriteRefusedWhenMountedInAnotherNamespace(t *testing.T) {
	p, _ := newSlot(t)
	dir := t.TempDir()
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount -t ext4 "$1" "$2" && echo mounted && read wait`, "-", p.Device, dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	line := make([]byte, 8)
	if _, err := io.ReadFull(out, line); err != nil || string(line) != "mounted\n" {
		t.Fatalf("%q, %v", line, err)
	}
	err = image.WriteSlot(p, func(*image.Writer) error { return nil })
	wantRefusal(t, err, image.ReasonSlotMounted)
	// Looking is allowed, and sees the mounted file system.
	if _, err := image.ReadSlotFile(p, "nothing", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// What is still open when the function returns would keep the file system
// mounted: that must be an error, not a slot that counts as written.
func TestWriteFailsWhenSomethingStaysOpen(t *testing.T) {
	p, _ := newSlot(t)
	var leaked int
	err := image.WriteSlot(p, func(w *image.Writer) error {
		f, _, err := w.Partial("vmlinuz", 10)
		if err != nil {
			return err
		}
		leaked, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	defer unix.Close(leaked)
	wantRefusal(t, err, image.ReasonSlotMounted)
	if !strings.Contains(err.Error(), "after unmounting") {
		t.Errorf("got %v", err)
	}
}

func TestProofRefusesDirtyJournal(t *testing.T) {
	p, _ := newSlot(t)
	if err := image.ProveUnmounted(p); err != nil {
		t.Fatal(err)
	}
	run(t, "e2fsprogs", "", "debugfs", "-w", "-R", "feature needs_recovery", p.Device)
	if err := image.ProveUnmounted(p); err == nil || !strings.Contains(err.Error(), "recovery") {
		t.Errorf("got %v", err)
	}
}

// The proof waits while a process that another thread has just forked still
// holds descriptors of the mount, and it does not take that for a refusal.
func TestWriteWhileForking(t *testing.T) {
	p, _ := newSlot(t)
	ctx, cancel := context.WithCancel(t.Context())
	var forks sync.WaitGroup
	forks.Go(func() {
		for ctx.Err() == nil {
			if err := exec.Command("true").Run(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer forks.Wait()
	defer cancel()
	for range 20 {
		write(t, p, "vmlinuz", []byte("kernel"))
		if _, err := readBack(p, "vmlinuz"); err != nil {
			t.Fatal(err)
		}
	}
}

// A status query may look at a slot while it is written, and then does not
// stop the writer, nor does it make a slot that is written look unfinished.
func TestLookWhileWriting(t *testing.T) {
	p, _ := newSlot(t)
	err := image.WriteSlot(p, func(w *image.Writer) error {
		if err := w.WriteFile("release.json", []byte("new")); err != nil {
			return err
		}
		got, err := image.ReadSlotFile(p, "release.json", 100)
		if err != nil || string(got) != "new" {
			t.Errorf("got %q, %v", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		var look sync.WaitGroup
		look.Go(func() {
			if _, err := image.ReadSlotFile(p, "release.json", 100); err != nil {
				t.Error(err)
			}
		})
		got, err := readBack(p, "release.json")
		look.Wait()
		if err != nil || string(got) != "new" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestWriterFunctionFails(t *testing.T) {
	p, _ := newSlot(t)
	write(t, p, "kept", []byte("kept"))
	failure := errors.New("the download broke off")
	err := image.WriteSlot(p, func(w *image.Writer) error {
		f, _, err := w.Partial("vmlinuz", 10)
		if err != nil {
			return err
		}
		if _, err := f.WriteString("half"); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatalf("got %v", err)
	}
	if _, err := image.ReadSlotFile(p, "vmlinuz", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unverified file has its final name: %v", err)
	}
	// The next run continues, after a panic as well.
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		image.WriteSlot(p, func(w *image.Writer) error { panic("bug") })
	}()
	err = image.WriteSlot(p, func(w *image.Writer) error {
		f, have, err := w.Partial("vmlinuz", 10)
		if err != nil {
			return err
		}
		if have != 4 {
			t.Errorf("%d bytes were there, want 4", have)
		}
		if _, err := f.WriteString("+whole"); err != nil {
			return err
		}
		return w.Commit("vmlinuz")
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readBack(p, "vmlinuz"); string(got) != "half+whole" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWriteSlotFull(t *testing.T) {
	p, _ := newSlot(t)
	err := image.WriteSlot(p, func(w *image.Writer) error {
		_, _, err := w.Partial("initramfs", p.Size)
		return err
	})
	wantRefusal(t, err, image.ReasonSlotTooSmall)
	err = image.WriteSlot(p, func(w *image.Writer) error {
		f, _, err := w.Partial("initramfs", 1)
		if err != nil {
			return err
		}
		block := make([]byte, 1<<20)
		for {
			if _, err := f.Write(block); err != nil {
				return err
			}
		}
	})
	wantRefusal(t, err, image.ReasonSlotTooSmall)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the cause is lost: %v", err)
	}
	// Afterwards the slot can be used again.
	err = image.WriteSlot(p, func(w *image.Writer) error {
		if err := w.Keep(); err != nil {
			return err
		}
		return w.WriteFile("release.json", []byte("{}"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readBack(p, "release.json"); string(got) != "{}" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWriterFiles(t *testing.T) {
	p, _ := newSlot(t)
	err := image.WriteSlot(p, func(w *image.Writer) error {
		for _, name := range []string{"vmlinuz", "initramfs", "old"} {
			if err := w.WriteFile(name, []byte("first")); err != nil {
				return err
			}
		}
		if err := w.WriteFile("vmlinuz", []byte("second")); err != nil {
			return err
		}
		f, _, err := w.Partial("foreign", 10)
		if err != nil {
			return err
		}
		if _, err := f.WriteString("foreign"); err != nil {
			return err
		}
		f, _, err = w.Partial("initramfs", 10)
		if err != nil {
			return err
		}
		if _, err := f.WriteString("part"); err != nil {
			return err
		}
		if err := w.Keep("vmlinuz", "initramfs"); err != nil {
			return err
		}
		if _, have, err := w.Partial("initramfs", 10); err != nil || have != 4 {
			t.Errorf("the part of a kept file has %d bytes, %v", have, err)
		}
		if _, have, err := w.Partial("initramfs", 3); err != nil || have != 0 {
			t.Errorf("a part that is too long has %d bytes left, %v", have, err)
		}
		if err := w.Discard("initramfs"); err != nil {
			return err
		}
		if err := w.Discard("initramfs"); err != nil {
			return err
		}
		if err := w.Commit("initramfs"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("commit of nothing: %v", err)
		}
		for _, name := range []string{"", ".", "..", "a/b", "../b", "/b", "lost+found"} {
			if err := w.WriteFile(name, nil); err == nil {
				t.Errorf("a file named %q was written", name)
			}
		}
		free, err := w.Free()
		if err != nil || free <= 0 || free > p.Size {
			t.Errorf("%d bytes free, %v", free, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := slotFiles(t, p); got != "initramfs lost+found vmlinuz" {
		t.Errorf("the slot has %s", got)
	}
	if got, err := readBack(p, "vmlinuz"); string(got) != "second" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// slotFiles lists a slot.
func slotFiles(t *testing.T, p image.Partition) string {
	t.Helper()
	var names []string
	whileMounted(t, p.Device, func(dir string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	})
	return strings.Join(names, " ")
}

// A slot that somebody has prepared with links or devices must not make us
// read or write elsewhere.
func TestSlotWithLinks(t *testing.T) {
	p, _ := newSlot(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	whileMounted(t, p.Device, func(dir string) {
		for name, target := range map[string]string{"vmlinuz": victim, "vmlinuz" + image.Unverified: victim, "alias": "file"} {
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(
			os.WriteFile(filepath.Join(dir, "file"), []byte("other"), 0o600),
			unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
			os.Mkdir(filepath.Join(dir, "initramfs"+image.Unverified), 0o700),
		); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"vmlinuz", "pipe", "alias", "lost+found"} {
		if got, err := image.ReadSlotFile(p, name, 100); err == nil {
			t.Errorf("%s was read: %q", name, got)
		}
		if got, err := readBack(p, name); err == nil {
			t.Errorf("%s was read back: %q", name, got)
		}
	}
	write(t, p, "vmlinuz", []byte("kernel"))
	write(t, p, "initramfs", []byte("files"))
	if got, _ := os.ReadFile(victim); string(got) != "host" {
		t.Errorf("the file outside now has %q", got)
	}
	if got, err := readBack(p, "vmlinuz"); string(got) != "kernel" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestClaim(t *testing.T) {
	p, _ := newSlot(t)
	claim := func(id string, wantResumed bool, wantPart int64) {
		t.Helper()
		err := image.WriteSlot(p, func(w *image.Writer) error {
			resumed, err := w.Claim(id)
			if err != nil || resumed != wantResumed {
				t.Errorf("claim for %s: resumed %t, %v", id, resumed, err)
			}
			f, have, err := w.Partial("initramfs", 10)
			if err != nil {
				return err
			}
			if have != wantPart {
				t.Errorf("claim for %s: %d bytes are there, want %d", id, have, wantPart)
			}
			_, err = f.WriteString("x")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write(t, p, "old", []byte("old"))
	claim("first", false, 0)
	claim("first", true, 1)
	claim("second", false, 0)
	claim("second", true, 1)
	claim("first", false, 0)
	if got := slotFiles(t, p); strings.Contains(got, "old") {
		t.Errorf("the slot has %s", got)
	}
}

// TestPipesAndFolders has things in the slot that are no files, under names that a
// file should have. Nobody waits for a pipe, and they make way.
func TestPipesAndFolders(t *testing.T) {
	p, _ := newSlot(t)
	for _, claim := range []func(w *image.Writer) (bool, error){
		func(w *image.Writer) (bool, error) { return w.Claim("release") },
		func(w *image.Writer) (bool, error) {
			return w.ClaimKeeping("release", image.Room{Files: map[string]int64{"vmlinuz": 1}})
		},
	} {
		whileMounted(t, p.Device, func(dir string) {
			for _, err := range []error{
				os.RemoveAll(filepath.Join(dir, "release.unverified")),
				syscall.Mkfifo(filepath.Join(dir, "release.unverified"), 0o600),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
		})
		err := image.WriteSlot(p, func(w *image.Writer) error {
			if resumed, err := claim(w); resumed || err != nil {
				t.Errorf("claimed by a pipe: %v, %v", resumed, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	whileMounted(t, p.Device, func(dir string) {
		if err := os.MkdirAll(filepath.Join(dir, "vmlinuz", "deep"), 0o700); err != nil {
			t.Fatal(err)
		}
	})
	err := image.WriteSlot(p, func(w *image.Writer) error {
		if _, err := w.Open("vmlinuz"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a folder was opened as the kernel: %v", err)
		}
		return w.WriteFile("vmlinuz", []byte("kernel"))
	})
	if err != nil {
		t.Fatal(err)
	}
}
