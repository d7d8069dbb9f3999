package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"tufboot/e2e/machine"
)

// TestRepack boots an initramfs that repo-tool packed, in each packing: with an
// early archive before it, and with device nodes and a file with several names,
// which lie in different segments.
func TestRepack(t *testing.T) {
	t.Parallel()
	base, err := machine.Zstd([]byte(baseArchive(t)))
	if err != nil {
		t.Fatal(err)
	}
	for len(base)%4 != 0 {
		base = append(base, 0)
	}
	large := make([]byte, 300_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(large)
	early := newc(entry{name: "kernel", mode: 0o040755}, entry{name: "kernel/x86", mode: 0o040755}, entry{name: "kernel/x86/microcode", mode: 0o040755},
		entry{name: "kernel/x86/microcode/GenuineIntel.bin", mode: 0o100644, data: []byte("no microcode")})
	input := slices.Concat(early, base, newc(
		entry{name: "parts", mode: 0o040755},
		entry{name: "parts/first", mode: 0o100640, inode: 7, links: 3},
		entry{name: "parts/large", mode: 0o100644, data: large},
		entry{name: "parts/node", mode: 0o020600, device: [2]int{1, 5}},
		entry{name: "parts/second", mode: 0o100640, inode: 7, links: 3},
		entry{name: "parts/third", mode: 0o100640, inode: 7, links: 3, data: []byte("linked\n")},
		entry{name: "parts/symbolic", mode: 0o120777, data: []byte("third")}))
	for _, packing := range []string{"zstd", "gzip"} {
		t.Run(packing, func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			dir, err := os.MkdirTemp(shared.Dir, "repack-")
			if err != nil {
				t.Fatal(err)
			}
			in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
			if err := os.WriteFile(in, input, 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(shared.RepoTool, "repack", "--packing", packing, "--segment", "64K", "-o", out, in)
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("repo-tool repack: %v\n%s", err, text)
			}
			packed, err := os.ReadFile(out)
			if err != nil || !bytes.HasPrefix(packed, early) {
				t.Fatalf("the early archive is not kept (%v)", err)
			}
			bootsWhole(t, dir, out, fmt.Sprintf("%x", sha256.Sum256(large)))
		})
	}
}

// bootsWhole boots the initramfs and looks for what TestRepack put in it.
func bootsWhole(t *testing.T, dir, initramfs, sum string) {
	m, err := machine.Start(machine.Options{
		Name: "repack", Firmware: machine.BIOS, Dir: dir,
		Kernel: shared.Kernel.Image, Initramfs: initramfs, Cmdline: machine.Cmdline,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Kill()
	if _, err := m.WaitBoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := m.Exec(t.Context(), `set -ex
cd /parts
sha256sum large | grep -q `+sum+`
test "$(cat first second third symbolic | sort | uniq -c | tr -s ' ')" = " 4 linked"
test "$(stat -c '%h %a %u %g %i' first)" = "$(stat -c '3 640 5 6 %i' third)"
test "$(stat -c %i second)" = "$(stat -c %i third)"
test "$(stat -c '%F %t %T %a' node)" = "character special file 1 5 600"
test "$(readlink symbolic)" = third
test "$(cat /kernel/x86/microcode/GenuineIntel.bin)" = "no microcode"
test "$(cat /etc/tufboot-release)" = base
! dmesg | grep -i 'unpacking failed'`)
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != 0 {
		t.Errorf("the guest is not what was packed:\n%s%s", r.Stdout, r.Stderr)
	}
}

// entry is a file of an archive with what machine.Tree does not have.
type entry struct {
	name         string
	mode         uint32
	data         []byte
	inode, links int
	device       [2]int
}

// newc returns the archive of entries in the newc format (see machine.Tree.CPIO).
func newc(entries ...entry) []byte {
	var b bytes.Buffer
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	for _, e := range append(entries, entry{name: "TRAILER!!!"}) {
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			e.inode, e.mode, 5, 6, max(e.links, 1), 0, len(e.data), 0, 0, e.device[0], e.device[1], len(e.name)+1, 0, e.name)
		pad()
		b.Write(e.data)
		pad()
	}
	return b.Bytes()
}
