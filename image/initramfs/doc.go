// Package initramfs packs an initramfs anew, so that two releases of it that
// differ little have most of their bytes in common, compressed as they are.
//
// The kernel's rules (init/initramfs.c, lib/decompress_*.c and
// Documentation/driver-api/early-userspace/buffer-format.rst): an initramfs is a
// row of members, with zero bytes between them. Each is a cpio archive in the
// newc format, as it is or compressed; a compressed one is known by its first
// bytes and unpacked by itself. After a member the unpacker must stand between
// two files. A trailer is needed nowhere: all that it does is to forget which
// files have other names. An entry that comes later replaces an earlier one of
// the same name. Microcode and ACPI tables are looked for in the uncompressed
// archive that the file begins with, at their offsets.
//
// What Repack does with it:
//
//   - The entries keep their order, names, modes, owners, times and contents. Inode
//     and device numbers, which only say what belongs together, become 0, or for
//     files with several names a number that comes from the first name. So an
//     added file changes no header but its own.
//   - The archive is cut into segments at borders between files. A border is cut
//     where the hash of the name before or behind it says so, more likely beside
//     large files: large ones stand alone, small ones are together, and one file
//     that changes changes one segment. See plan.
//   - Zstd: each segment is a member of its own. Gzip: each is compressed without
//     looking back, all in one member; large files are also cut inside, where their
//     content says so.
//   - There is one trailer, at the end: so "zstdcat initramfs | cpio -t" sees all,
//     and names of one file may lie in several segments.
//   - An archive with microcode or ACPI tables at the beginning stays as it is, byte
//     for byte.
//
// The same entries and options give the same bytes on every machine; another
// version of the compressor may give others.
//
// The package knows nothing of releases or of TUF.
package initramfs
