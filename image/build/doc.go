// Package build makes a bootable disk image with the first release in both
// slots, as an ordinary user: no root, no loop device, no mount.
//
// # Order
//
// Each file system is made in a file of its own and copied, without its holes,
// into the image (mke2fs -E offset= would write into the image's first sector).
// First comes the partition table, because sfdisk writes sector 0; then the
// file systems; last GRUB's boot sector, which keeps the partition table bytes
// of sector 0. Everything happens in a temporary folder beside the output, and
// the finished image is synced and renamed: whoever sees the output's name sees
// a whole disk.
//
// # Layout
//
//	sector 0          GRUB's boot.img around the protective MBR
//	sectors 1-33      GPT
//	sectors 34-2047   GRUB's core image for BIOS, in no partition
//	1 MiB             EFI (FAT32), SYSTEM-A, SYSTEM-B, DATA (ext4), aligned to 1 MiB
//	last MiB          backup GPT
//
// The GPT's first usable sector is 2048, so that no tool puts a partition on
// the core image. Sectors have 512 bytes: firmware and GRUB's boot.img count
// in them, so the image cannot be put on a disk with 4096-byte logical sectors.
package build
