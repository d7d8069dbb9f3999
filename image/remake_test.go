package image_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"testing"

	"tufboot/image"
)

// content returns what a device holds.
func content(t *testing.T, device string) []byte {
	t.Helper()
	data, err := os.ReadFile(device)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRemake makes a slot's file system anew; it takes files as any other does,
// and nothing beside it is touched.
func TestRemake(t *testing.T) {
	d := newDisk(t, labels()...)
	disk := d.find()
	write(t, disk.SystemB, "vmlinuz", pattern("old", 100_000))
	beside := [][]byte{content(t, disk.SystemA.Device), content(t, disk.Data.Device)}
	if err := image.Remake(disk, disk.SystemB); err != nil {
		t.Fatal(err)
	}
	if _, err := readBack(disk.SystemB, "vmlinuz"); err == nil {
		t.Error("the old file is still there")
	}
	kernel := pattern("new", 2<<20)
	write(t, disk.SystemB, "vmlinuz", kernel)
	if got := grubRead(t, d.file, "(loop0,gpt3)/vmlinuz"); !bytes.Equal(got, kernel) {
		t.Error("GRUB reads something else")
	}
	for i, device := range []string{disk.SystemA.Device, disk.Data.Device} {
		if !bytes.Equal(content(t, device), beside[i]) {
			t.Errorf("%s was written", device)
		}
	}
}

// overlap has a partition begin 8 sectors earlier, by the table.
func (d *testDisk) overlap(number int) {
	d.t.Helper()
	f, err := os.OpenFile(d.file, os.O_RDWR, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	table := make([]byte, 512+128*128) // header and entries
	if _, err := f.ReadAt(table, 512); err != nil {
		d.t.Fatal(err)
	}
	le, header, entries := binary.LittleEndian, table[:92], table[512:]
	first := entries[(number-1)*128+32:]
	le.PutUint64(first, le.Uint64(first)-8)
	le.PutUint32(header[88:], crc32.ChecksumIEEE(entries))
	le.PutUint32(header[16:], 0)
	le.PutUint32(header[16:], crc32.ChecksumIEEE(header))
	if _, err := f.WriteAt(table, 512); err != nil {
		d.t.Fatal(err)
	}
}

// TestRemakeRefuses has something in the way each time that must not be lost, or a
// disk that is not what it was when it was looked at. Nothing is written.
func TestRemakeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		want   string
		change func(t *testing.T, d *testDisk, disk *image.Disk, p *image.Partition)
	}{
		"DATA":              {image.ReasonPartitionMissing, func(_ *testing.T, _ *testDisk, disk *image.Disk, p *image.Partition) { *p = disk.Data }},
		"the EFI partition": {image.ReasonPartitionMissing, func(_ *testing.T, _ *testDisk, disk *image.Disk, p *image.Partition) { *p = disk.EFI }},
		"a mounted slot":    {image.ReasonSlotMounted, func(t *testing.T, _ *testDisk, _ *image.Disk, p *image.Partition) { mountAt(t, p.Device, "") }},
		"renamed since": {image.ReasonPartitionMissing, func(t *testing.T, d *testDisk, _ *image.Disk, _ *image.Partition) {
			run(t, "fdisk", "", "sfdisk", "--no-reread", "--no-tell-kernel", "--part-label", d.file, "3", "HOME")
		}},
		"another partition of that name": {image.ReasonDuplicateLabel, func(t *testing.T, d *testDisk, _ *image.Disk, _ *image.Partition) {
			run(t, "fdisk", "", "sfdisk", "--no-reread", "--no-tell-kernel", "--part-label", d.file, "4", "SYSTEM-B")
		}},
		"deleted since": {image.ReasonPartitionMissing, func(t *testing.T, d *testDisk, _ *image.Disk, _ *image.Partition) {
			run(t, "fdisk", "", "sfdisk", "--no-reread", "--no-tell-kernel", "--delete", d.file, "3")
		}},
		"another one overlaps": {image.ReasonPartitionMissing, func(t *testing.T, d *testDisk, _ *image.Disk, _ *image.Partition) { d.overlap(4) }},
		"another device": {image.ReasonPartitionMissing, func(_ *testing.T, _ *testDisk, disk *image.Disk, p *image.Partition) {
			p.Device = disk.Data.Device
			disk.SystemB = *p
		}},
		"no partition table": {"", func(t *testing.T, d *testDisk, _ *image.Disk, _ *image.Partition) {
			f, err := os.OpenFile(d.file, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []int64{512, info.Size() - 512} { // and the backup
				if _, err := f.WriteAt(make([]byte, 512), at); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, labels()...)
			disk := d.find()
			p := disk.SystemB
			c.change(t, d, disk, &p)
			before := content(t, p.Device)
			err := image.Remake(disk, p)
			if c.want != "" {
				wantRefusal(t, err, c.want)
			} else if err == nil {
				t.Error("it was made")
			}
			if !bytes.Equal(content(t, p.Device), before) {
				t.Error("something was written")
			}
		})
	}
}
