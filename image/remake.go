package image

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tufboot/image/mkext4"
)

// Remake makes the file system of slot p of disk d anew: empty, with the slot's
// label. What p held is lost. As for WriteSlot, the caller has seen to it that p
// is neither the booted slot nor bootable at all.
//
// Before anything is written it is proven once more that p is what it is taken
// for: the disk's partition table, read now, has p in that place and under that
// name, overlapping no other partition; the kernel's device has the same place;
// and nobody has it open or mounted. A *RefusedError says which of these fails.
func Remake(d *Disk, p Partition) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make the file system of slot %s anew: %w", p.Name, err)
		}
	}()
	f, err := openExclusive(p.Device)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := provePlace(d, p, f); err != nil {
		return err
	}
	o := mkext4.Options{Size: p.Size, Label: p.Name, Now: time.Now()}
	if _, err := rand.Read(o.UUID[:]); err != nil {
		return err
	}
	o.UUID[6], o.UUID[8] = o.UUID[6]&0x0f|0x40, o.UUID[8]&0x3f|0x80 // RFC 9562, version 4
	if _, err := rand.Read(o.Seed[:]); err != nil {
		return err
	}
	if err := mkext4.Make(f, o); err != nil {
		return err
	}
	// From the device, and not from what the kernel has cached of it.
	_, err = identify(p)
	return err
}

// provePlace proves that the open device is slot p of disk d.
func provePlace(d *Disk, p Partition, device *os.File) error {
	const advice = "the partition table is not what it was: reboot, or run partprobe"
	if p != d.SystemA && p != d.SystemB {
		return refuse(ReasonPartitionMissing, advice, "%s (%s) is no slot of disk %s", p.Name, p.Device, d.Device)
	}
	table, err := tableOf(d.Device)
	if err != nil {
		return err
	}
	have := gptEntry{number: p.Number, name: p.Name, uuid: p.UUID, start: p.Start, size: p.Size}
	at := slices.Index(table, have)
	if at < 0 {
		return refuse(ReasonPartitionMissing, advice, "disk %s has no partition %d named %s in that place any more", d.Device, p.Number, p.Name)
	}
	for i, e := range table {
		if i == at {
			continue
		}
		if e.name == p.Name {
			return refuse(ReasonDuplicateLabel, adviceLabels, "disk %s has several partitions named %s", d.Device, p.Name)
		}
		if e.start < p.Start+p.Size && p.Start < e.start+e.size {
			return refuse(ReasonPartitionMissing, advice, "partitions %d and %d of disk %s overlap", p.Number, e.number, d.Device)
		}
	}
	return proveDevice(p, device)
}

// tableOf reads the partition table of a disk.
func tableOf(device string) ([]gptEntry, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := dropCache(f); err != nil {
		return nil, err
	}
	sector, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil {
		return nil, fmt.Errorf("sector size of %s: %w", device, err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	return readGPT(f, size, int64(sector))
}

// proveDevice proves that the kernel has the open device where p is.
func proveDevice(p Partition, device *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(device.Fd()), &st); err != nil {
		return err
	}
	size, err := device.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	dir := filepath.Join("/sys/dev/block", deviceNumber(st.Rdev))
	number, numberErr := readNumber(filepath.Join(dir, "partition"))
	start, startErr := readNumber(filepath.Join(dir, "start"))
	if err := errors.Join(numberErr, startErr); err != nil {
		return fmt.Errorf("where %s lies: %w", p.Device, err)
	}
	if int(number) != p.Number || start*sysfsSector != p.Start || size != p.Size {
		return refuse(ReasonPartitionMissing, adviceReread, "%s is not partition %d (%s): the kernel has it elsewhere", p.Device, p.Number, p.Name)
	}
	return nil
}
