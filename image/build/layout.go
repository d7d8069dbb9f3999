package build

import (
	"fmt"
	"os"

	"tufboot/image"
)

const (
	sectorSize  = 512
	alignment   = MiB              // of every partition
	firstSector = MiB / sectorSize // of the first partition
	tailSize    = MiB              // after the last partition: the backup GPT
)

// GPT partition types.
const (
	typeESP   = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" // UEFI specification, table 5.7
	typeLinux = "0fc63daf-8483-4772-8e79-3d69d8477de4" // Linux file system
)

// part is one partition of the layout.
type part struct {
	image.Partition
	typ    string // GPT partition type
	fsUUID string // of the ext4 file system; for FAT its first 8 hex digits are the volume id
}

// layout is where everything goes.
type layout struct {
	size   int64 // of the disk, in bytes
	diskID string
	efi    part
	slots  [2]part
	data   part
}

// partitions returns the layout's partitions in order.
func (l *layout) partitions() []part {
	return []part{l.efi, l.slots[0], l.slots[1], l.data}
}

// plan computes the layout for options that have their defaults.
func plan(o Options) (*layout, error) {
	release, err := releaseSize(o)
	if err != nil {
		return nil, err
	}
	efi, slot, data := orDefault(o.EFISize, DefaultEFISize), o.SlotSize, orDefault(o.DataSize, DefaultDataSize)
	if slot == 0 {
		slot = max(MinSlotSize, 2*release+32*MiB)
	}
	efi, slot, data = alignUp(efi), alignUp(slot), alignUp(data)
	switch {
	case efi < MinEFISize:
		return nil, fmt.Errorf("an EFI partition of %d MiB is too small for FAT32: use at least %d", efi/MiB, MinEFISize/MiB)
	case slot < max(minExt4Size, needed(release)):
		return nil, fmt.Errorf("a slot of %d MiB is too small for the release: use at least %d", slot/MiB, alignUp(max(minExt4Size, needed(release)))/MiB)
	}
	size := o.Size
	if size == 0 {
		size = alignment + efi + 2*slot + data + tailSize
	}
	size = size / alignment * alignment
	data = size - tailSize - alignment - efi - 2*slot
	if data < max(minExt4Size, needed(contentSize(o.Data))) {
		return nil, fmt.Errorf("a disk of %d MiB leaves %d MiB for %s, which is too little", size/MiB, data/MiB, o.Labels.Data)
	}
	ids := newIDs(o.Seed)
	l := &layout{size: size, diskID: ids.uuid("disk")}
	next := int64(alignment)
	place := func(p *part, number int, name, typ string, size int64) {
		*p = part{
			Partition: image.Partition{Number: number, Name: name, UUID: ids.uuid("partition " + name), Start: next, Size: size},
			typ:       typ,
			fsUUID:    ids.uuid("file system " + name),
		}
		next += size
	}
	place(&l.efi, 1, o.Labels.EFI, typeESP, efi)
	place(&l.slots[0], 2, o.Labels.SystemA, typeLinux, slot)
	place(&l.slots[1], 3, o.Labels.SystemB, typeLinux, slot)
	place(&l.data, 4, o.Labels.Data, typeLinux, data)
	return l, nil
}

// needed returns a safe size in bytes of an ext4 file system that is to hold
// content bytes: its journal and tables take some.
func needed(content int64) int64 {
	return content + content/16 + 12*MiB
}

// releaseSize returns the bytes of the first release's files.
func releaseSize(o Options) (int64, error) {
	total := int64(len(o.Manifest)+len(o.Cmdline)) + contentSize(o.Beside)
	for _, path := range []string{o.Kernel, o.Initramfs} {
		st, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		if !st.Mode().IsRegular() || st.Size() == 0 {
			return 0, fmt.Errorf("%s is empty or not a regular file", path)
		}
		total += st.Size()
	}
	return total, nil
}

func contentSize(files map[string][]byte) int64 {
	var total int64
	for _, content := range files {
		total += int64(len(content))
	}
	return total
}

func orDefault(size, byDefault int64) int64 {
	if size == 0 {
		return byDefault
	}
	return size
}

func alignUp(size int64) int64 {
	return (size + alignment - 1) / alignment * alignment
}
