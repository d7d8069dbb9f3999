package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// The GUID partition table, UEFI specification 2.10, section 5.3.
const (
	gptSignature     = "EFI PART"
	gptMinHeader     = 92
	gptMinEntry      = 128
	gptMaxEntry      = 4096
	gptMaxEntries    = 1024 // tools make 128; the bound keeps a broken table from taking memory
	gptNameOffset    = 56
	gptNameLength    = 72 // bytes of UTF-16LE
	protectiveType   = 0xee
	mbrTable         = 446
	mbrEntry         = 16
	mbrTypeInEntry   = 4
	mbrSize          = 512
	maxSectorsOnDisk = 1 << 53 // so that bytes fit into an int64
)

// errNoGPT says that the disk has no partition table of this kind, or none
// that is sound.
var errNoGPT = errors.New("no sound GUID partition table")

// gptEntry is one used partition of a GPT.
type gptEntry struct {
	number      int    // from 1
	name, uuid  string // uuid in lower case
	start, size int64  // bytes
}

// readGPT reads the partition table of a disk of size bytes: the first table,
// or the backup where the first is damaged. sector is the logical sector size
// in bytes: a power of two, 512 or more. errors.Is(err, errNoGPT) tells that
// the disk was readable.
func readGPT(disk io.ReaderAt, size, sector int64) ([]gptEntry, error) {
	if err := checkProtectiveMBR(disk); err != nil {
		return nil, err
	}
	g := gptReader{disk: disk, sector: sector, sectors: size / sector}
	entries, err := g.read()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoGPT, err)
	}
	return entries, nil
}

// checkProtectiveMBR does what GRUB does before it believes in a GPT
// (grub-core/partmap/gpt.c): an MBR with one partition of type 0xee.
func checkProtectiveMBR(disk io.ReaderAt) error {
	var mbr [mbrSize]byte
	if _, err := disk.ReadAt(mbr[:], 0); err != nil {
		if err == io.EOF {
			return errNoGPT
		}
		return fmt.Errorf("read sector 0: %w", err)
	}
	if mbr[510] != 0x55 || mbr[511] != 0xaa {
		return errNoGPT
	}
	for i := range 4 {
		if mbr[mbrTable+i*mbrEntry+mbrTypeInEntry] == protectiveType {
			return nil
		}
	}
	return errNoGPT
}

// gptReader reads the tables of one disk.
type gptReader struct {
	disk    io.ReaderAt
	sector  int64 // bytes
	sectors int64
}

// read returns the entries of the first table that is sound: the primary one,
// then where the primary header says that the backup is, then the last sector.
// An image that was copied to a larger disk has its backup not at the end.
func (g *gptReader) read() ([]gptEntry, error) {
	primary, err := g.header(1)
	if err == nil {
		entries, entriesErr := g.entries(primary)
		if entriesErr == nil {
			return entries, nil
		}
		err = entriesErr
	}
	errs := []error{fmt.Errorf("primary table: %w", err)}
	places := []int64{g.sectors - 1}
	if primary != nil {
		places = []int64{primary.alternate, g.sectors - 1}
	}
	for _, place := range places {
		backup, err := g.header(place)
		if err == nil {
			var entries []gptEntry
			if entries, err = g.entries(backup); err == nil {
				return entries, nil
			}
		}
		errs = append(errs, fmt.Errorf("backup table in sector %d: %w", place, err))
	}
	return nil, errors.Join(errs...)
}

// gptHeader is what is needed of a header whose checksum is right.
type gptHeader struct {
	alternate  int64 // sector of the other header
	table      int64 // first sector of the entries
	count      int
	entrySize  int
	entriesCRC uint32
}

// header reads and checks the header in a sector.
func (g *gptReader) header(at int64) (*gptHeader, error) {
	if at < 1 || at >= g.sectors || g.sectors > maxSectorsOnDisk/g.sector {
		return nil, errors.New("outside the disk")
	}
	b := make([]byte, g.sector)
	if _, err := g.disk.ReadAt(b, at*g.sector); err != nil {
		return nil, err
	}
	if string(b[:8]) != gptSignature {
		return nil, errors.New("no header")
	}
	le := binary.LittleEndian
	size := le.Uint32(b[12:])
	if size < gptMinHeader || int64(size) > g.sector {
		return nil, fmt.Errorf("header of %d bytes", size)
	}
	want := le.Uint32(b[16:])
	clear(b[16:20]) // the checksum is computed with itself as zero
	if got := crc32.ChecksumIEEE(b[:size]); got != want {
		return nil, fmt.Errorf("header checksum is %08x, not %08x", got, want)
	}
	h := &gptHeader{
		alternate:  int64(le.Uint64(b[32:])),
		table:      int64(le.Uint64(b[72:])),
		entriesCRC: le.Uint32(b[88:]),
	}
	count, entrySize := le.Uint32(b[80:]), le.Uint32(b[84:])
	switch {
	case int64(le.Uint64(b[24:])) != at:
		return nil, fmt.Errorf("header says that it is in sector %d", le.Uint64(b[24:]))
	case count > gptMaxEntries:
		return nil, fmt.Errorf("%d entries are more than %d", count, gptMaxEntries)
	case entrySize < gptMinEntry || entrySize > gptMaxEntry || entrySize%8 != 0:
		return nil, fmt.Errorf("entries of %d bytes", entrySize)
	case h.table < 1 || h.table >= g.sectors:
		return nil, errors.New("entries lie outside the disk")
	}
	h.count, h.entrySize = int(count), int(entrySize)
	return h, nil
}

// entries reads and checks the entries that belong to a header, and returns
// those in use.
func (g *gptReader) entries(h *gptHeader) ([]gptEntry, error) {
	table := make([]byte, h.count*h.entrySize)
	if _, err := g.disk.ReadAt(table, h.table*g.sector); err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	if got := crc32.ChecksumIEEE(table); got != h.entriesCRC {
		return nil, fmt.Errorf("entries' checksum is %08x, not %08x", got, h.entriesCRC)
	}
	var entries []gptEntry
	for i := range h.count {
		b := table[i*h.entrySize:][:h.entrySize]
		if bytes.Equal(b[:16], make([]byte, 16)) { // no partition type: unused
			continue
		}
		first, last := int64(binary.LittleEndian.Uint64(b[32:])), int64(binary.LittleEndian.Uint64(b[40:]))
		if first < 1 || last < first || last >= g.sectors {
			return nil, fmt.Errorf("partition %d from sector %d to %d is not on the disk", i+1, first, last)
		}
		entries = append(entries, gptEntry{
			number: i + 1,
			name:   gptName(b[gptNameOffset:][:gptNameLength]),
			uuid:   guidText(b[16:32]),
			start:  first * g.sector,
			size:   (last - first + 1) * g.sector,
		})
	}
	return entries, nil
}

// gptName decodes a partition name: UTF-16LE up to the first zero.
func gptName(b []byte) string {
	var units []uint16
	for i := 0; i+1 < len(b); i += 2 {
		u := binary.LittleEndian.Uint16(b[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// guidText writes a GUID in its text form; the first three groups are stored
// little-endian (UEFI specification, appendix A).
func guidText(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}
