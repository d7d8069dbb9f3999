package grub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/internal/grubemu"
)

// The test disk: tiny, but a real GPT disk with a FAT ESP and two ext4 slots.
const (
	diskSectors = 3200
	espStart    = 64
	slotAStart  = 1088
	slotBStart  = 2112
	partSectors = 1024
	espUUID     = "b49b6ccc-85da-f044-9daf-9f1a56390e09"
)

// tool runs a program that the tests need and that a machine may lack.
func tool(t *testing.T, debianPackage, name string, args ...string) []byte {
	t.Helper()
	path, err := lookPath(name)
	if err != nil {
		t.Fatalf("%s is needed: install the Debian package %s", name, debianPackage)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// lookPath also finds what Debian keeps out of a user's PATH.
func lookPath(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + name)
}

// parts makes and keeps the pieces of test disks.
type parts struct {
	dir   string
	table []byte            // the partition table: a disk without content
	slots map[string][]byte // file systems of slots, by label and "+"/"-"
}

func newParts(t *testing.T) *parts {
	p := &parts{dir: t.TempDir(), slots: make(map[string][]byte)}
	path := filepath.Join(p.dir, "table.img")
	writeFile(t, path, make([]byte, diskSectors*sectorSize))
	script := filepath.Join(p.dir, "table")
	writeFile(t, script, fmt.Appendf(nil, "label: gpt\nfirst-lba: 34\n"+
		"start=%d, size=%d, type=U, uuid=%s\nstart=%d, size=%d, type=L\nstart=%d, size=%d, type=L\n",
		espStart, partSectors, espUUID, slotAStart, partSectors, slotBStart, partSectors))
	tool(t, "fdisk", "sh", "-c", `PATH="$PATH:/usr/sbin"; exec sfdisk -q "$0" <"$1"`, path, script)
	p.table = readFile(t, path)
	return p
}

// slot returns a slot's file system; without a kernel it has everything else.
func (p *parts) slot(t *testing.T, label string, kernel bool) []byte {
	return p.slotWith(t, label, kernel, SumsNone)
}

// slotWith returns a slot with a list of what it should hold, or without one.
func (p *parts) slotWith(t *testing.T, label string, kernel bool, sums SumsResult) []byte {
	key := fmt.Sprintf("%s %v %v", label, kernel, sums)
	if image, ok := p.slots[key]; ok {
		return image
	}
	files := slotFiles(t)
	if sums != SumsNone {
		files[SumsFile] = sumsOf(t, files)
	}
	if sums == SumsDiffer {
		files[InitramfsFile][3] ^= 1
	}
	if !kernel {
		delete(files, KernelFile)
	}
	p.slots[key] = p.ext4(t, label, files)
	return p.slots[key]
}

// slotFiles returns the files of a whole slot without a list.
func slotFiles(t *testing.T) map[string][]byte {
	t.Helper()
	args, err := CmdlineConfig("console=tty0 quiet console=ttyS0 -- single")
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{KernelFile: []byte("kernel\n"), InitramfsFile: []byte("initramfs\n"), CmdlineFile: args}
}

// sumsOf returns the list for files.
func sumsOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var sums []FileSum
	for name, data := range files {
		sums = append(sums, FileSum{name, fmt.Sprintf("%x", sha256.Sum256(data))})
	}
	list, err := Sums(sums...)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// ext4 returns a file system with the files, as a slot's builder would make it.
func (p *parts) ext4(t *testing.T, label string, files map[string][]byte) []byte {
	from, err := os.MkdirTemp(p.dir, "slot")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		writeFile(t, filepath.Join(from, name), data)
	}
	path := from + ".img"
	writeFile(t, path, make([]byte, partSectors*sectorSize))
	tool(t, "e2fsprogs", "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum_seed,^orphan_file",
		"-L", label, "-d", from, path)
	return readFile(t, path)
}

// esp returns a FAT file system with the files in /grub. A nil file is left out.
func (p *parts) esp(t *testing.T, files map[string][]byte) []byte {
	dir, err := os.MkdirTemp(p.dir, "esp")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "esp.img")
	writeFile(t, path, make([]byte, partSectors*sectorSize))
	tool(t, "dosfstools", "mkfs.vfat", "-F", "12", "-s", "1", "-n", "EFI", path)
	tool(t, "mtools", "mmd", "-i", path, "::grub")
	for name, data := range files {
		if data == nil {
			continue
		}
		file := filepath.Join(dir, name)
		writeFile(t, file, data)
		tool(t, "mtools", "mcopy", "-i", path, file, "::grub/"+name)
	}
	return readFile(t, path)
}

// disk returns a whole disk.
func (p *parts) disk(esp, slotA, slotB []byte) []byte {
	image := bytes.Clone(p.table)
	copy(image[espStart*sectorSize:], esp)
	copy(image[slotAStart*sectorSize:], slotA)
	copy(image[slotBStart*sectorSize:], slotB)
	return image
}

// emulator runs GRUB on disks; dir is for its files.
type emulator struct{ dir string }

func newEmulator(t *testing.T) *emulator {
	t.Helper()
	return &emulator{dir: t.TempDir()}
}

// booted is what GRUB did.
type booted struct {
	outcome Outcome
	words   []string // the kernel's file, then its arguments
	resort  bool     // GRUB came to the last resort
	output  string
}

// run starts GRUB from the first partition of disk from; disks are the images in
// the order of their numbers. readOnly makes every write to a file fail.
func (e *emulator) run(from int, readOnly bool, disks ...string) (booted, error) {
	got, err := grubemu.Run(context.Background(), grubemu.Options{
		Dir: e.dir, Root: fmt.Sprintf("hd%d,gpt1", from), Folder: "/grub", Disks: disks, ReadOnly: readOnly,
	})
	b := booted{words: got.Words, output: got.Output, resort: strings.Contains(got.Output, "no slot can be booted")}
	if err != nil {
		return b, err
	}
	if (got.Words == nil) != b.resort {
		return b, fmt.Errorf("GRUB neither booted nor came to the last resort:\n%s", b.output)
	}
	if b.resort {
		return b, nil
	}
	kernel, err := ParseKernelCmdline(strings.Join(b.words[1:], " "))
	if err != nil {
		return b, err
	}
	if kernel.ESP != espUUID {
		return b, fmt.Errorf("tufboot.esp=%s, not %s:\n%s", kernel.ESP, espUUID, b.output)
	}
	part := map[Slot]string{SlotA: ",gpt2)/", SlotB: ",gpt3)/"}[kernel.Slot]
	if !strings.HasSuffix(b.words[0], part+KernelFile) || !strings.HasSuffix(got.Initramfs, part+InitramfsFile) {
		return b, fmt.Errorf("slot %s has kernel %s and initramfs %s", kernel.Slot, b.words[0], got.Initramfs)
	}
	b.outcome = Outcome{Slot: kernel.Slot, BootID: kernel.BootID, Try: kernel.Try, CorruptA: kernel.CorruptA, CorruptB: kernel.CorruptB}
	return b, nil
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// testConfig returns the real grub.cfg without waiting, behind the loader.
func testConfig(t *testing.T) []byte {
	t.Helper()
	cfg, err := Config(ConfigOptions{Timeout: -1, RebootAfter: -1})
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(grubemu.Loader), cfg...)
}
