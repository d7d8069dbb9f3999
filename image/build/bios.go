package build

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Where GRUB's programs for BIOS hold what an installer writes into them
// (include/grub/i386/pc/boot.h and include/grub/offsets.h; the writer there is
// util/setup.c).
const (
	bootKernelSector = 0x5c  // boot.img: sector of the core image, 8 bytes
	bootDriveCheck   = 0x66  // boot.img: jump over the check of the boot drive, 2 bytes
	bootCodeEnd      = 0x1b8 // from here on sector 0 belongs to the partition table

	coreBlockList    = 0x1f4 // core image: sector (8), number of sectors (2), segment (2)
	coreBlockListEnd = 0x1e8 // the entry below, with length 0, ends the list
	coreSegment      = 0x820 // the second sector goes to 0x8200, behind the first

	embedSector = 34 // first sector behind the GPT
	embedEnd    = firstSector
)

// readWriterAt is the disk image.
type readWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// embed writes GRUB for BIOS: the core image behind the GPT, then the boot
// sector's program, which keeps the partition table.
func embed(disk readWriterAt, img coreImage) error {
	core, err := withBlockList(img.core)
	if err != nil {
		return err
	}
	var sector [sectorSize]byte
	if _, err := disk.ReadAt(sector[:], 0); err != nil {
		return fmt.Errorf("read the boot sector: %w", err)
	}
	if err := setBootCode(sector[:], img.boot); err != nil {
		return err
	}
	if _, err := disk.WriteAt(core, embedSector*sectorSize); err != nil {
		return fmt.Errorf("write GRUB's core image: %w", err)
	}
	if _, err := disk.WriteAt(sector[:], 0); err != nil {
		return fmt.Errorf("write the boot sector: %w", err)
	}
	return nil
}

// withBlockList returns the core image in whole sectors, its first one holding
// the place of the others. GRUB's diskboot.S reads one entry after the other,
// downwards from the sector's end; ours lie in one piece, so one is enough.
func withBlockList(core []byte) ([]byte, error) {
	sectors := (len(core) + sectorSize - 1) / sectorSize
	if sectors < 2 {
		return nil, errors.New("GRUB's core image is too short to be one")
	}
	if sectors > embedEnd-embedSector {
		return nil, fmt.Errorf("GRUB's core image has %d sectors; only %d fit before the first partition", sectors, embedEnd-embedSector)
	}
	padded := make([]byte, sectors*sectorSize)
	copy(padded, core)
	// grub-mkimage leaves the length there; if it is not what we count, this
	// is not the format that is known here.
	if length := binary.LittleEndian.Uint16(padded[coreBlockList+8:]); int(length) != sectors-1 {
		return nil, fmt.Errorf("GRUB's core image has %d sectors but says %d: unknown format", sectors, length+1)
	}
	clear(padded[coreBlockListEnd:coreBlockList])
	binary.LittleEndian.PutUint64(padded[coreBlockList:], embedSector+1)
	binary.LittleEndian.PutUint16(padded[coreBlockList+8:], uint16(sectors-1))
	binary.LittleEndian.PutUint16(padded[coreBlockList+10:], coreSegment)
	return padded, nil
}

// setBootCode puts boot.img's program into sector 0 and leaves the protective
// MBR (bytes 440 to 511) as it is.
func setBootCode(sector, boot []byte) error {
	if len(boot) != sectorSize {
		return fmt.Errorf("GRUB's boot.img has %d bytes, not %d", len(boot), sectorSize)
	}
	copy(sector[:bootCodeEnd], boot)
	binary.LittleEndian.PutUint64(sector[bootKernelSector:], embedSector)
	// On a hard disk the program must check the drive number, since some BIOSes
	// pass a wrong one: two NOPs in place of the jump over the check.
	sector[bootDriveCheck], sector[bootDriveCheck+1] = 0x90, 0x90
	return nil
}
