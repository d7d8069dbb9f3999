package image

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// ext4Start returns the first bytes of a file system with the ext4 magic.
func ext4Start(incompatible uint32, label string) []byte {
	b := make([]byte, 2048)
	binary.LittleEndian.PutUint16(b[1024+0x38:], 0xef53)
	binary.LittleEndian.PutUint32(b[1024+0x60:], incompatible)
	copy(b[1024+0x78:1024+0x88], label)
	return b
}

// withErrors notes in a file system that errors were found.
func withErrors(b []byte) []byte {
	b[1024+0x3a] = 3
	return b
}

func fatStart(labelAt, typeAt int, fatType, label string) []byte {
	b := make([]byte, 2048)
	copy(b[typeAt:], fatType)
	copy(b[labelAt:], label)
	b[510], b[511] = 0x55, 0xaa
	return b
}

func TestReadSuperblock(t *testing.T) {
	const usual = 0x2c2 // filetype, extents, 64bit, flex_bg
	tests := []struct {
		name  string
		bytes []byte
		want  superblock
	}{
		{"ext4", ext4Start(usual, "SYSTEM-A"), superblock{fsType: "ext4", label: "SYSTEM-A"}},
		{"ext4, longest label", ext4Start(usual, "0123456789abcdef"), superblock{fsType: "ext4", label: "0123456789abcdef"}},
		{"ext4, journal to be recovered", ext4Start(usual|4, "X"), superblock{fsType: "ext4", label: "X", dirty: true}},
		{"ext4, errors were found", withErrors(ext4Start(usual, "X")), superblock{fsType: "ext4", label: "X", failed: true}},
		{"ext4, metadata_csum_seed", ext4Start(usual|0x2000, "X"), superblock{fsType: "ext4", label: "X", foreign: 0x2000}},
		{"ext4, inline_data", ext4Start(usual|0x8000, "X"), superblock{fsType: "ext4", label: "X", foreign: 0x8000}},
		{"ext4, casefold", ext4Start(usual|0x20000, "X"), superblock{fsType: "ext4", label: "X", foreign: 0x20000}},
		{"ext3", ext4Start(2, "X"), superblock{}},
		{"FAT32", fatStart(71, 82, "FAT32   ", "EFI        "), superblock{fsType: "vfat", label: "EFI"}},
		{"FAT16", fatStart(43, 54, "FAT16   ", "EFI        "), superblock{fsType: "vfat", label: "EFI"}},
		{"zeros", make([]byte, 4096), superblock{}},
		{"too short", make([]byte, 100), superblock{}},
		{"empty", nil, superblock{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readSuperblock(bytes.NewReader(tt.bytes))
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

// FuzzReadSuperblock changes a file system's start in one place.
func FuzzReadSuperblock(f *testing.F) {
	f.Add(uint16(1024), []byte{}, uint16(2048))
	f.Add(uint16(1024+0x78), []byte("0123456789abcdefXYZ"), uint16(2048))
	f.Add(uint16(71), []byte("NAME"), uint16(512))
	f.Fuzz(func(t *testing.T, at uint16, change []byte, length uint16) {
		for _, start := range [][]byte{ext4Start(0x2c2, "A"), fatStart(71, 82, "FAT32   ", "EFI"), make([]byte, 4096)} {
			copy(start[min(int(at), len(start)):], change)
			start = start[:min(int(length), len(start))]
			sb, err := readSuperblock(bytes.NewReader(start))
			if err != nil {
				t.Fatal(err)
			}
			if len(sb.label) > 16 || sb.fsType == "" && sb != (superblock{}) {
				t.Fatalf("got %+v", sb)
			}
		}
	})
}

func FuzzParseMountInfo(f *testing.F) {
	f.Add("30 22 7:1 / /mnt/a\\040b rw shared:1 - ext4 /dev/loop1 rw\n", "7:1")
	f.Fuzz(func(t *testing.T, info, number string) {
		for _, m := range parseMountInfo(info, number) {
			if m.fsType == "" {
				t.Fatalf("got %+v", m)
			}
		}
	})
}

func TestParseMountInfo(t *testing.T) {
	const info = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 7:1 / /mnt/a\040b rw shared:1 master:2 - ext4 /dev/loop1 rw
31 22 7:1 /sub /mnt/c rw - ext4 /dev/loop1 rw
32 22 7:10 / /mnt/d rw - vfat /dev/loop10 rw
garbage
33 22 7:1
`
	got := parseMountInfo(info, "7:1")
	want := []mountPoint{{"/", "/mnt/a b", "ext4"}, {"/sub", "/mnt/c", "ext4"}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
