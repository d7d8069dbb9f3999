package mkext4

// superblockAt is where the primary superblock lies, in bytes.
const superblockAt = 1024

const superblockSize = 1024

// Features (fs/ext4/ext4.h, EXT4_FEATURE_*).
const (
	compatible   = 0x0004 | 0x0008 | 0x0020                            // has_journal, ext_attr, dir_index
	incompatible = 0x0002 | 0x0040                                     // filetype, extents
	readOnly     = 0x0001 | 0x0002 | 0x0008 | 0x0020 | 0x0040 | 0x0400 // sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum
)

// superblock returns the superblock (struct ext4_super_block) as group g has it.
func (f *fileSystem) superblock(g int) []byte {
	var free, inodes, freeInodes uint32
	for g := range f.groups {
		free += f.length(g) - f.used(g)
		inodes += f.groupInodes
		freeInodes += f.groupInodes - f.usedInodes(g)
	}
	now := uint32(f.Now.Unix())
	b := make([]byte, superblockSize)
	for at, v := range map[int]uint32{
		0x00: inodes, 0x04: f.blocks, 0x0c: free, 0x10: freeInodes,
		0x18: 2, 0x1c: 2, // block and cluster size, as powers of 2 over 1 KiB
		0x20: groupBlocks, 0x24: groupBlocks, 0x28: f.groupInodes,
		0x30: now, 0x40: now, 0x108: now, // written, checked, made
		0x4c: 1, 0x54: lostInode, // revision, first inode that is not reserved
		0x5c: compatible, 0x60: incompatible, 0x64: readOnly,
		0xe0:  journalInode,
		0x160: 1, // signed hash of names
	} {
		le.PutUint32(b[at:], v)
	}
	for at, v := range map[int]uint16{
		0x36: 0xffff, // mounts until a check: no limit
		0x38: 0xef53,
		0x3a: 1, 0x3c: 1, // clean; go on after an error, unless mounted otherwise
		0x58: inodeSize, 0x5a: uint16(g),
		0x15c: inodeExtra, 0x15e: inodeExtra,
	} {
		le.PutUint16(b[at:], v)
	}
	copy(b[0x68:], f.UUID[:])
	copy(b[0x78:0x78+maxLabel], f.Label)
	copy(b[0xec:], f.Seed[:])
	b[0xfc] = 1 // half MD4
	// The journal's inode once more, for e2fsck.
	b[0xfd] = 1
	journal := f.inode(journalInode)
	copy(b[0x10c:], journal[inodeBlocksAt:][:inodeBlocksSize])
	copy(b[0x10c+inodeBlocksSize+4:], journal[4:8]) // its size, behind the upper half, 0
	b[0x175] = 1                                    // checksums are CRC-32C
	le.PutUint32(b[superblockSize-4:], checksum(^uint32(0), b[:superblockSize-4]))
	return b
}
