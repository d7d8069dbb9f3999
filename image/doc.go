// Package image is what is on a tufboot disk: its four partitions, how a slot
// is found, written, and read back. Package image/build makes such a disk.
//
// It knows nothing of updates, signatures or the boot state: it is told which
// slot to write, by a caller who has made that slot unbootable before.
//
// # Finding
//
// A label is only trusted on the disk that the machine was booted from. GRUB
// tells that disk on the kernel command line, as the partition GUID of the EFI
// partition that GRUB itself was loaded from, and [Find] looks for the labels in the partition
// table of that disk alone. So a USB stick with the same labels misleads
// nobody. The partition table is read by this package, since neither udev nor
// the kernel's partition names are there in every initramfs and container; the
// kernel is only asked which device a partition number has.
//
// # Writing
//
// GRUB replays no ext4 journal and reads the device, not Linux's page cache.
// So a slot counts as written only after this order, in which each step relies
// on the one before:
//
//  1. [WriteSlot] looks at the file system: ext4 with the slot's label and only
//     features that GRUB can read.
//  2. It opens the device exclusively, which the kernel grants only while
//     nobody has it mounted or otherwise claimed, in whatever mount namespace.
//  3. It mounts it privately (a mount that is in no namespace: nobody can come
//     across it, and it is gone when the process is, however that ends), and has
//     the caller write: each file under a name that says it is unverified, then
//     fsync, rename, fsync of the folder.
//  4. It syncs and unmounts. An unmount writes the journal's content to its place.
//  5. It proves the unmount: the device opens exclusively again, a flush of the
//     device's own cache succeeds, and the journal is marked empty.
//  6. [ReadBack] drops the device's cached blocks, mounts it anew, read-only and
//     without journal replay (what GRUB would see), and reads past the page cache.
//
// Only then may the caller make the slot bootable.
//
// Until the last new file is there, the slot's old ones may be kept beside them as
// seeds: under names that GRUB does not look for, as long as there is room for
// both, for the caller to copy from. [Writer.Keep] removes them.
package image
