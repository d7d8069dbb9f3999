package mkext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Device is what the file system is written to: a block device, or a file.
type Device interface {
	io.WriterAt
	// Sync makes what was written durable.
	Sync() error
}

// Options describe a file system.
type Options struct {
	Size  int64    // of the partition, in bytes
	Label string   // at most 16 bytes
	UUID  [16]byte // of the file system; random
	Seed  [16]byte // of the folders' hash; random
	Now   time.Time
}

// Sizes of this kind of file system, in bytes unless it says blocks.
const (
	blockSize     = 4096
	inodeSize     = 256
	groupBlocks   = 8 * blockSize // as many as a bitmap of one block has bits
	descSize      = 32
	inodesInBlock = blockSize / inodeSize
	maxLabel      = 16
	// bytesPerInode: a slot holds a handful of large files.
	bytesPerInode = 1 << 20
	leastInodes   = 256
	// Journals as mke2fs makes them for this size (lib/ext2fs/mkjournal.c,
	// ext2fs_default_journal_size), and no larger ones.
	smallJournal = 1024 // blocks
	largeJournal = 4096 // blocks
	// leastFree is what a last group must have room for beside its own metadata.
	leastFree = 64 // blocks
	// MinSize and MaxSize bound Options.Size: a small journal has to fit in, and
	// block numbers have 32 bits.
	MinSize = 8 << 20
	MaxSize = 1 << 40
)

// Inodes that have a meaning (fs/ext4/ext4.h), and the first of the others.
const (
	rootInode    = 2
	journalInode = 8
	lostInode    = 11 // lost+found
	usedInodes   = 11 // the first ones: reserved, and lost+found
)

// Make writes an empty file system. What the device held is lost.
func Make(d Device, o Options) error {
	f, err := plan(o)
	if err != nil {
		return err
	}
	// Without this, a cut would leave the old superblock over new metadata.
	if err := f.erase(d); err != nil {
		return err
	}
	for g := range f.groups {
		if err := f.writeGroup(d, g); err != nil {
			return fmt.Errorf("group %d: %w", g, err)
		}
	}
	if err := f.writeContent(d); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	first := make([]byte, blockSize)
	copy(first[superblockAt:], f.superblock(0))
	if err := writeBlocks(d, 0, first); err != nil {
		return err
	}
	return d.Sync()
}

// erase wipes the primary superblock, and what other file systems have there.
func (f *fileSystem) erase(d Device) error {
	if err := writeBlocks(d, 0, make([]byte, blockSize)); err != nil {
		return err
	}
	return d.Sync()
}

// fileSystem is the plan of a file system. Numbers are blocks or inodes.
type fileSystem struct {
	Options
	blocks      uint32
	groups      int
	descBlocks  uint32
	groupInodes uint32
	journal     uint32 // length
	checksums   uint32 // what every checksum of metadata begins with
}

var errSize = errors.New("no size for this file system")

func plan(o Options) (*fileSystem, error) {
	if o.Size < MinSize || o.Size > MaxSize {
		return nil, fmt.Errorf("%d bytes: %w", o.Size, errSize)
	}
	if len(o.Label) > maxLabel {
		return nil, fmt.Errorf("label %q is longer than %d bytes", o.Label, maxLabel)
	}
	f := &fileSystem{Options: o, blocks: uint32(o.Size / blockSize), journal: smallJournal}
	if f.blocks >= groupBlocks {
		f.journal = largeJournal
	}
	f.divide()
	// A last group without room for anything is left out, as mke2fs does.
	if rest := f.blocks % groupBlocks; rest != 0 && f.groups > 1 && rest < f.overhead(f.groups-1)+leastFree {
		f.blocks -= rest
		f.divide()
	}
	f.checksums = checksum(^uint32(0), o.UUID[:])
	return f, nil
}

// divide lays out the groups.
func (f *fileSystem) divide() {
	f.groups = int((f.blocks + groupBlocks - 1) / groupBlocks)
	f.descBlocks = (uint32(f.groups)*descSize + blockSize - 1) / blockSize
	inodes := max(uint32(int64(f.blocks)*blockSize/bytesPerInode), leastInodes)
	each := (inodes + uint32(f.groups) - 1) / uint32(f.groups)
	f.groupInodes = (each + inodesInBlock - 1) / inodesInBlock * inodesInBlock
}

// hasBackup reports whether group g begins with a superblock (sparse_super).
func hasBackup(g int) bool {
	if g <= 1 {
		return true
	}
	for _, base := range []int{3, 5, 7} {
		n := base
		for n < g {
			n *= base
		}
		if n == g {
			return true
		}
	}
	return false
}

func (f *fileSystem) tableBlocks() uint32 { return f.groupInodes / inodesInBlock }

// start returns the first block of a group, length how many it has.
func (f *fileSystem) start(g int) uint32  { return uint32(g) * groupBlocks }
func (f *fileSystem) length(g int) uint32 { return min(f.blocks-f.start(g), groupBlocks) }

// bitmaps returns the first of a group's two bitmaps, blocks and inodes, behind
// which its inode table lies.
func (f *fileSystem) bitmaps(g int) uint32 {
	at := f.start(g)
	if hasBackup(g) {
		at += 1 + f.descBlocks
	}
	return at
}

func (f *fileSystem) table(g int) uint32 { return f.bitmaps(g) + 2 }

// overhead is how many blocks a group's metadata takes, from its start on.
func (f *fileSystem) overhead(g int) uint32 { return f.table(g) + f.tableBlocks() - f.start(g) }

// The content of group 0, behind its metadata: two folders and the journal.
func (f *fileSystem) rootBlock() uint32    { return f.overhead(0) }
func (f *fileSystem) lostBlock() uint32    { return f.rootBlock() + 1 }
func (f *fileSystem) journalStart() uint32 { return f.rootBlock() + 2 }

// used is how many blocks of a group are taken; they are its first ones.
func (f *fileSystem) used(g int) uint32 {
	if g == 0 {
		return f.journalStart() + f.journal
	}
	return f.overhead(g)
}

func (f *fileSystem) usedInodes(g int) uint32 {
	if g == 0 {
		return usedInodes
	}
	return 0
}

// writeBlocks writes at a block.
func writeBlocks(d io.WriterAt, block uint32, b []byte) error {
	_, err := d.WriteAt(b, int64(block)*blockSize)
	return err
}

// le is the byte order of everything but the journal.
var le = binary.LittleEndian
