package build

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// testCore returns a core image as grub-mkimage makes one.
func testCore(size int) []byte {
	core := bytes.Repeat([]byte{0xcc}, size)
	clear(core[0x1d0:512])
	binary.LittleEndian.PutUint64(core[0x1f4:], 2)
	binary.LittleEndian.PutUint16(core[0x1fc:], uint16((size+511)/512-1))
	binary.LittleEndian.PutUint16(core[0x1fe:], 0x820)
	return core
}

func TestWithBlockList(t *testing.T) {
	got, err := withBlockList(testCore(3*512 + 1))
	if err != nil {
		t.Fatal(err)
	}
	want := append(testCore(3*512+1), make([]byte, 511)...)
	binary.LittleEndian.PutUint64(want[0x1f4:], 35)
	if !bytes.Equal(got, want) {
		t.Error("the block list or something else differs")
	}
	for name, core := range map[string][]byte{
		"empty":               nil,
		"one sector":          testCore(512),
		"too long":            testCore(2015 * 512),
		"other length inside": append(testCore(3*512), make([]byte, 512)...),
	} {
		if _, err := withBlockList(core); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := withBlockList(testCore(2014 * 512)); err != nil {
		t.Errorf("the largest that fits: %v", err)
	}
}

func TestSetBootCode(t *testing.T) {
	sector, boot := bytes.Repeat([]byte{0x11}, 512), bytes.Repeat([]byte{0x22}, 512)
	if err := setBootCode(sector, boot); err != nil {
		t.Fatal(err)
	}
	want := append(bytes.Repeat([]byte{0x22}, 440), bytes.Repeat([]byte{0x11}, 72)...)
	copy(want[0x5c:], []byte{34, 0, 0, 0, 0, 0, 0, 0})
	copy(want[0x66:], []byte{0x90, 0x90})
	if !bytes.Equal(sector, want) {
		t.Errorf("got %x", sector)
	}
	if err := setBootCode(sector, boot[:511]); err == nil {
		t.Error("a boot.img of another size was accepted")
	}
}

func TestCopySparse(t *testing.T) {
	dir := t.TempDir()
	source := make([]byte, 3*copyUnit+100)
	source[5], source[2*copyUnit], source[len(source)-1] = 1, 2, 3
	src := filepath.Join(dir, "src")
	if err := os.WriteFile(src, source, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"data": source, "nothing": nil} {
		dst, err := os.Create(filepath.Join(dir, "dst"))
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		if err := os.WriteFile(src, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := dst.Truncate(10 + int64(len(content))); err != nil {
			t.Fatal(err)
		}
		if err := copySparse(dst, 10, src); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(dst.Name())
		if err != nil || !bytes.Equal(got[10:], content) {
			t.Errorf("%s: other bytes, %v", name, err)
		}
	}
	hole, zeros := filepath.Join(dir, "hole"), filepath.Join(dir, "zeros")
	if err := makeHole(hole, 10*copyUnit); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(zeros, make([]byte, 10*copyUnit), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, src := range []string{hole, zeros} {
		dst, err := os.Create(filepath.Join(dir, "dst"))
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		if err := copySparse(dst, 0, src); err != nil {
			t.Fatal(err)
		}
		if st, err := dst.Stat(); err != nil || st.Size() != 0 {
			t.Errorf("%s was written: %v", src, err)
		}
	}
}

func TestIDs(t *testing.T) {
	a, b := newIDs("seed"), newIDs("seed")
	random, other := newIDs(""), newIDs("")
	if a.uuid("x") != b.uuid("x") || a.uuid("x") == a.uuid("y") || random.uuid("x") == other.uuid("x") {
		t.Error("a GUID must depend on the seed and the purpose, and on nothing else")
	}
	if id := a.uuid("x"); len(id) != 36 || id[14] != '4' {
		t.Errorf("%s is not a version 4 GUID", id)
	}
}
