// Package mkext4 makes an empty ext4 file system in a partition. The agent makes
// a slot's file system anew with it where the old one is damaged: neither a
// container from scratch nor every initramfs has mke2fs, and linking one's own
// is less than carrying e2fsprogs and its libraries into each of them.
//
// It is no general tool. There is one block size, the features are the fewest
// that a slot needs, all of which GRUB 2.06 reads (grub-core/fs/ext2.c), and
// everything is written out at once, so that nothing of what was there before
// is ever taken for metadata or for the journal:
//
//   - blocks of 4 KiB, inodes of 256 bytes, extents;
//   - backups of the superblock in groups 0, 1 and the powers of 3, 5 and 7;
//   - a checksum over every piece of metadata (metadata_csum);
//   - a journal of one extent, empty.
//
// The format is that of Linux (Documentation/filesystems/ext4, fs/ext4/ext4.h,
// include/linux/jbd2.h). The tests have e2fsck, the kernel and GRUB judge it.
//
// The superblock is wiped first and written last, each with a sync: at whatever
// moment the power is cut, there is no file system, or a whole one.
package mkext4
