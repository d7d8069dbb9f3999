package mkext4

import "hash/crc32"

// writeGroup writes a group's metadata: the backup of superblock and group
// descriptors, the bitmaps, and an inode table without inodes.
func (f *fileSystem) writeGroup(d Device, g int) error {
	if hasBackup(g) {
		// The primary superblock comes at the end of all.
		if g > 0 {
			backup := make([]byte, blockSize)
			copy(backup, f.superblock(g))
			if err := writeBlocks(d, f.start(g), backup); err != nil {
				return err
			}
		}
		if err := writeBlocks(d, f.start(g)+1, f.descriptors()); err != nil {
			return err
		}
	}
	bitmaps := append(f.blockBitmap(g), f.inodeBitmap(g)...)
	if err := writeBlocks(d, f.bitmaps(g), bitmaps); err != nil {
		return err
	}
	return writeZeros(d, f.table(g), f.tableBlocks())
}

// writeZeros writes empty blocks.
func writeZeros(d Device, from, count uint32) error {
	const step = 256
	zeros := make([]byte, min(count, step)*blockSize)
	for count > 0 {
		n := min(count, step)
		if err := writeBlocks(d, from, zeros[:n*blockSize]); err != nil {
			return err
		}
		from, count = from+n, count-n
	}
	return nil
}

// bitmap returns a block with the first used bits set, and those from length on,
// which stand for nothing.
func bitmap(used, length uint32) []byte {
	b := make([]byte, blockSize)
	for i := range uint32(8 * blockSize) {
		if i < used || i >= length {
			b[i/8] |= 1 << (i % 8)
		}
	}
	return b
}

func (f *fileSystem) blockBitmap(g int) []byte { return bitmap(f.used(g), f.length(g)) }
func (f *fileSystem) inodeBitmap(g int) []byte { return bitmap(f.usedInodes(g), f.groupInodes) }

// inodeTableZeroed (EXT4_BG_INODE_ZEROED): the kernel need not do it.
const inodeTableZeroed = 4

// descriptors returns the descriptors of all groups (struct ext4_group_desc).
func (f *fileSystem) descriptors() []byte {
	all := make([]byte, f.descBlocks*blockSize)
	for g := range f.groups {
		b := all[g*descSize:][:descSize]
		freeInodes := uint16(f.groupInodes - f.usedInodes(g))
		le.PutUint32(b[0x00:], f.bitmaps(g))
		le.PutUint32(b[0x04:], f.bitmaps(g)+1)
		le.PutUint32(b[0x08:], f.table(g))
		le.PutUint16(b[0x0c:], uint16(f.length(g)-f.used(g)))
		le.PutUint16(b[0x0e:], freeInodes)
		if g == 0 {
			le.PutUint16(b[0x10:], 2) // folders
		}
		le.PutUint16(b[0x12:], inodeTableZeroed)
		le.PutUint16(b[0x18:], uint16(checksum(f.checksums, f.blockBitmap(g))))
		le.PutUint16(b[0x1a:], uint16(checksum(f.checksums, f.inodeBitmap(g)[:f.groupInodes/8])))
		le.PutUint16(b[0x1c:], freeInodes) // at the end of the table, never used
		// The field of the checksum itself is still zero, as it is to be.
		sum := checksum(checksum(f.checksums, le.AppendUint32(nil, uint32(g))), b)
		le.PutUint16(b[0x1e:], uint16(sum))
	}
	return all
}

// checksum goes on with a CRC-32C as the kernel computes it, without the
// inversions at both ends.
func checksum(from uint32, b []byte) uint32 {
	return ^crc32.Update(^from, crc32.MakeTable(crc32.Castagnoli), b)
}
