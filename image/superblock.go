package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// File system types, as mount(2) names them.
const (
	typeExt4 = "ext4"
	typeVFAT = "vfat"
)

// superblock is what identifies a file system.
type superblock struct {
	fsType string // "ext4", "vfat"; "" when it is none that is known here
	label  string
	// foreign has the incompatible ext4 features that GRUB cannot read.
	foreign uint32
	// dirty says that the ext4 journal has content that is not in its place yet.
	dirty bool
	// failed says that the kernel found the file system to be damaged, and noted it.
	failed bool
}

// Offsets and values of the ext4 superblock (Linux fs/ext4/ext4.h, struct
// ext4_super_block), which starts at byte 1024.
const (
	ext4Superblock = 1024
	ext4Magic      = 0xef53
	ext4Extents    = 0x40 // incompatible feature that makes it ext4
	ext4Recover    = 0x04 // incompatible feature: the journal needs recovery
	ext4Failed     = 0x02 // state: errors were found (EXT4_ERROR_FS)
	// What GRUB 2.06 reads (grub-core/fs/ext2.c, EXT2_DRIVER_SUPPORTED_INCOMPAT
	// and EXT2_DRIVER_IGNORED_INCOMPAT): filetype, recover, meta_bg, extents,
	// 64bit, mmp, flex_bg, encrypt.
	ext4GrubReads = 0x02 | ext4Recover | 0x10 | ext4Extents | 0x80 | 0x100 | 0x200 | 0x10000
)

// Offsets of the FAT boot sector (Microsoft's FAT specification, section 3).
const (
	fatLabel16, fatType16 = 43, 54
	fatLabel32, fatType32 = 71, 82
	fatLabelLength        = 11
)

// readSuperblock looks at the start of a partition.
func readSuperblock(r io.ReaderAt) (superblock, error) {
	b := make([]byte, 2*ext4Superblock)
	if n, err := r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return superblock{}, fmt.Errorf("read the superblock: %w", err)
	} else if n < len(b) {
		return superblock{}, nil
	}
	return parseSuperblock(b), nil
}

// parseSuperblock recognizes a file system by its first 2048 bytes.
func parseSuperblock(b []byte) superblock {
	ext := b[ext4Superblock:]
	le := binary.LittleEndian
	if le.Uint16(ext[0x38:]) == ext4Magic {
		incompatible := le.Uint32(ext[0x60:])
		if incompatible&ext4Extents == 0 {
			return superblock{} // ext2 or ext3
		}
		label, _, _ := bytes.Cut(ext[0x78:0x88], []byte{0})
		return superblock{
			fsType:  typeExt4,
			label:   string(label),
			foreign: incompatible &^ ext4GrubReads,
			dirty:   incompatible&ext4Recover != 0,
			failed:  le.Uint16(ext[0x3a:])&ext4Failed != 0,
		}
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		return superblock{}
	}
	for _, at := range []struct{ label, typ int }{{fatLabel32, fatType32}, {fatLabel16, fatType16}} {
		if bytes.HasPrefix(b[at.typ:], []byte("FAT")) {
			return superblock{fsType: typeVFAT, label: strings.TrimRight(string(b[at.label:][:fatLabelLength]), " ")}
		}
	}
	return superblock{}
}
