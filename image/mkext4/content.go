package mkext4

import "encoding/binary"

// What an inode (struct ext4_inode) says.
const (
	modeFolder      = 0o040000
	modeFile        = 0o100000
	inodeExtra      = 32      // bytes of an inode in use behind the first 128
	usesExtents     = 0x80000 // EXT4_EXTENTS_FL
	inodeBlocksAt   = 0x28
	inodeBlocksSize = 60
	sectorsInBlock  = blockSize / 512
)

// writeContent writes the two folders, the journal and their inodes.
func (f *fileSystem) writeContent(d Device) error {
	if err := writeBlocks(d, f.rootBlock(), f.rootFolder()); err != nil {
		return err
	}
	if err := writeBlocks(d, f.lostBlock(), f.lostFolder()); err != nil {
		return err
	}
	if err := writeZeros(d, f.journalStart(), f.journal); err != nil {
		return err
	}
	if err := writeBlocks(d, f.journalStart(), f.journalHead()); err != nil {
		return err
	}
	first := make([]byte, blockSize)
	for _, n := range []uint32{rootInode, journalInode, lostInode} {
		copy(first[(n-1)*inodeSize:], f.inode(n))
	}
	return writeBlocks(d, f.table(0), first)
}

// inode returns one of the inodes that a new file system has.
func (f *fileSystem) inode(number uint32) []byte {
	mode, links, block, blocks := uint16(modeFolder|0o755), uint16(3), f.rootBlock(), uint32(1)
	switch number {
	case lostInode:
		mode, links, block = modeFolder|0o700, 2, f.lostBlock()
	case journalInode:
		mode, links, block, blocks = modeFile|0o600, 1, f.journalStart(), f.journal
	}
	b := make([]byte, inodeSize)
	now := uint32(f.Now.Unix())
	le.PutUint16(b[0x00:], mode)
	le.PutUint32(b[0x04:], blocks*blockSize)
	for _, at := range []int{0x08, 0x0c, 0x10, 0x90} { // read, changed, modified, made
		le.PutUint32(b[at:], now)
	}
	le.PutUint16(b[0x1a:], links)
	le.PutUint32(b[0x1c:], blocks*sectorsInBlock)
	le.PutUint32(b[0x20:], usesExtents)
	extents := b[inodeBlocksAt:]
	le.PutUint16(extents[0:], 0xf30a)
	le.PutUint16(extents[2:], 1) // of
	le.PutUint16(extents[4:], 4) // at most
	le.PutUint16(extents[16:], uint16(blocks))
	le.PutUint32(extents[20:], block)
	le.PutUint16(b[0x80:], inodeExtra)
	sum := checksum(f.ofInode(number), b) // over zeros where it goes
	le.PutUint16(b[0x7c:], uint16(sum))
	le.PutUint16(b[0x82:], uint16(sum>>16))
	return b
}

// ofInode is what checksums over an inode and its folder begin with. The inodes
// of a new file system are of generation 0.
func (f *fileSystem) ofInode(number uint32) uint32 {
	return checksum(checksum(f.checksums, le.AppendUint32(nil, number)), make([]byte, 4))
}

// folderTail is how many bytes at the end of a folder's block hold its checksum
// (struct ext4_dir_entry_tail).
const folderTail = 12

func (f *fileSystem) rootFolder() []byte {
	b := entry(nil, rootInode, ".", 12)
	b = entry(b, rootInode, "..", 12)
	return f.folder(entry(b, lostInode, "lost+found", blockSize-folderTail-24), rootInode)
}

func (f *fileSystem) lostFolder() []byte {
	b := entry(nil, lostInode, ".", 12)
	return f.folder(entry(b, rootInode, "..", blockSize-folderTail-12), lostInode)
}

// entry appends a folder (struct ext4_dir_entry_2) to the entries of another one.
func entry(b []byte, inode uint32, name string, length uint16) []byte {
	e := make([]byte, length)
	le.PutUint32(e, inode)
	le.PutUint16(e[4:], length)
	e[6], e[7] = byte(len(name)), 2
	copy(e[8:], name)
	return append(b, e...)
}

// folder adds the tail with the checksum to a folder's entries.
func (f *fileSystem) folder(entries []byte, inode uint32) []byte {
	tail := make([]byte, folderTail)
	le.PutUint16(tail[4:], folderTail)
	tail[7] = 0xde
	le.PutUint32(tail[8:], checksum(f.ofInode(inode), entries))
	return append(entries, tail...)
}

// journalHead returns the journal's first block (journal_superblock_t): it is
// empty.
func (f *fileSystem) journalHead() []byte {
	b := make([]byte, blockSize)
	for i, v := range []uint32{
		0xc03b3998, 4, 0, // a superblock of version 2
		blockSize, f.journal, 1, // the log begins in block 1
		1, // and with this transaction, when there is one
	} {
		binary.BigEndian.PutUint32(b[4*i:], v)
	}
	copy(b[0x30:], f.UUID[:])
	binary.BigEndian.PutUint32(b[0x40:], 1) // file systems that use it
	return b
}
