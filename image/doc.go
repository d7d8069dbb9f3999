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
//     fsync, rename, fsync of the folder. (What nothing depends on is just written:
//     [Writer.WriteLater].)
//     A [Stream] preallocates its file, writes it past the page cache, and has
//     the same blocks read back behind the writes, from the partition and past
//     all caches ([Reading]).
//  4. It syncs and unmounts. An unmount writes the journal's content to its place.
//  5. It proves the unmount: the device opens exclusively again, a flush of the
//     device's own cache succeeds, and the journal is marked empty.
//  6. [ReadBack] drops the device's cached blocks and mounts it anew, read-only
//     and without journal replay: what GRUB would see. A file of which there is
//     a Reading is proven by its map ([SlotFile.Consists]): the file consists of
//     exactly the blocks that were read, in their order, all of them written, and
//     has their length. Every other file, and one of which anything differs, is
//     read past the page cache.
//
// Only then may the caller make the slot bootable.
//
// # What the early reading proves, and what it does not
//
// GRUB finds a file by what the file system keeps on the device, and reads the
// blocks that this names. Step 6 takes the names from there, after the last
// write; step 3 has read the bytes of these very blocks from the device. So
// neither a journal that is replayed in memory only, nor a cached page, nor a
// write that went elsewhere can pass. A block that the file system moved or
// wrote again after its reading is another block, or makes a new stream.
//
// Between the reading of a block and the unmount lie the rest of the download
// and the file system's last writes. A device that spoils stored bytes in these
// seconds is not noticed; one that does it in the hours before the reboot never
// was. That is left to the trial: a kernel or initramfs that does not load costs
// attempts that GRUB counts, and the machine goes back. A drive that answers
// from its own memory cannot be seen through, early or late; reading at once
// finds the bytes there more often than reading after all was written. The flush
// in step 5 is what such a drive has to report errors at. For this, everything
// could be read a second time after the unmount. On a disk of 100 MB/s that
// doubles the time of an update over a fast link, and most drives would answer
// from the same memory.
package image
