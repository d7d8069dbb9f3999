package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"
)

// testTable is a disk with a GPT, written by the specification (UEFI 2.10,
// section 5.3) rather than by the reader under test.
type testTable struct {
	sector, sectors int64
	names           []string
	bytes           []byte
}

const (
	testEntries   = 8
	testEntrySize = 128
)

func newTestTable(sector int64, names ...string) *testTable {
	t := &testTable{sector: sector, sectors: 64, names: names}
	t.bytes = make([]byte, t.sector*t.sectors)
	t.bytes[446+4] = 0xee
	t.bytes[510], t.bytes[511] = 0x55, 0xaa
	t.write(1, t.sectors-1, 2)
	t.write(t.sectors-1, 1, t.sectors-4)
	return t
}

// write writes a header and the entries that belong to it.
func (t *testTable) write(at, alternate, table int64) {
	le := binary.LittleEndian
	entries := t.bytes[table*t.sector:][:testEntries*testEntrySize]
	for i, name := range t.names {
		e := entries[i*testEntrySize:]
		e[0] = 1 // partition type
		for j := range 16 {
			e[16+j] = byte(i*16 + j)
		}
		le.PutUint64(e[32:], uint64(10+i))
		le.PutUint64(e[40:], uint64(10+i))
		for j, r := range name {
			le.PutUint16(e[56+2*j:], uint16(r))
		}
	}
	h := t.bytes[at*t.sector:][:t.sector]
	copy(h, "EFI PART\x00\x00\x01\x00")
	le.PutUint32(h[12:], 92)
	le.PutUint64(h[24:], uint64(at))
	le.PutUint64(h[32:], uint64(alternate))
	le.PutUint64(h[72:], uint64(table))
	le.PutUint32(h[80:], testEntries)
	le.PutUint32(h[84:], testEntrySize)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
	t.sign(at)
}

// sign makes the checksum of the header in a sector right.
func (t *testTable) sign(at int64) {
	h := t.bytes[at*t.sector:]
	clear(h[16:20])
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
}

func (t *testTable) read() ([]gptEntry, error) {
	return readGPT(bytes.NewReader(t.bytes), int64(len(t.bytes)), t.sector)
}

func TestReadGPT(t *testing.T) {
	const at512 = 1 * 512 // place of the primary header
	set := func(offset int, value byte) func(*testTable) {
		return func(d *testTable) { d.bytes[offset] = value }
	}
	signed := func(offset int, value uint64, size int) func(*testTable) {
		return func(d *testTable) {
			for _, at := range []int64{1, d.sectors - 1} {
				b := make([]byte, 8)
				binary.LittleEndian.PutUint64(b, value)
				copy(d.bytes[at*d.sector+int64(offset):], b[:size])
				d.sign(at)
			}
		}
	}
	tests := []struct {
		name   string
		sector int64
		change func(*testTable)
		bad    bool
	}{
		{name: "sound", sector: 512},
		{name: "sound, 4096-byte sectors", sector: 4096},
		{name: "primary header damaged", sector: 512, change: set(at512+40, 0xff)},
		{name: "primary signature gone", sector: 512, change: set(at512, 0)},
		{name: "primary entries damaged", sector: 512, change: set(2*512+57, 0xff)},
		{name: "primary damaged, 4096-byte sectors", sector: 4096, change: set(4096, 0)},
		{name: "copied to a larger disk, entries damaged", sector: 512, change: func(d *testTable) {
			d.bytes = append(d.bytes, make([]byte, 100*512)...)
			d.bytes[2*512+57] = 0xff
		}},
		{name: "copied to a larger disk, header damaged", sector: 512, bad: true, change: func(d *testTable) {
			d.bytes = append(d.bytes, make([]byte, 100*512)...)
			d.bytes[512] = 0
		}},
		{name: "both damaged", sector: 512, bad: true, change: func(d *testTable) {
			d.bytes[2*512+57], d.bytes[60*512+57] = 0xff, 0xff
		}},
		{name: "no boot signature", sector: 512, bad: true, change: set(510, 0)},
		{name: "an ordinary MBR", sector: 512, bad: true, change: set(450, 0x83)},
		{name: "header in another sector", sector: 512, bad: true, change: signed(24, 7, 8)},
		{name: "too many entries", sector: 512, bad: true, change: signed(80, 1<<31, 4)},
		{name: "entries too large", sector: 512, bad: true, change: signed(84, 1<<31, 4)},
		{name: "entries too small", sector: 512, bad: true, change: signed(84, 0, 4)},
		{name: "header too large", sector: 512, bad: true, change: signed(12, 1<<31, 4)},
		{name: "header too small", sector: 512, bad: true, change: signed(12, 4, 4)},
		{name: "entries behind the disk", sector: 512, bad: true, change: signed(72, 1<<40, 8)},
		{name: "entries at a negative place", sector: 512, bad: true, change: signed(72, 1<<63, 8)},
		{name: "cut short", sector: 512, bad: true, change: func(d *testTable) { d.bytes = d.bytes[:700] }},
		{name: "empty", sector: 512, bad: true, change: func(d *testTable) { d.bytes = nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newTestTable(tt.sector, "EFI", "SYSTEM-A", "SYSTEM-B")
			if tt.change != nil {
				tt.change(d)
			}
			got, err := d.read()
			if tt.bad {
				if !errors.Is(err, errNoGPT) {
					t.Fatalf("got %v, %v; want errNoGPT", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for i, e := range got {
				names = append(names, e.name)
				if e.number != i+1 || e.start != int64(10+i)*tt.sector || e.size != tt.sector {
					t.Errorf("partition %+v is not what was written", e)
				}
			}
			if !slices.Equal(names, d.names) {
				t.Errorf("names %q, want %q", names, d.names)
			}
			if want := "13121110-1514-1716-1819-1a1b1c1d1e1f"; got[1].uuid != want {
				t.Errorf("GUID %s, want %s", got[1].uuid, want)
			}
		})
	}
}

func TestReadGPTPartitionOutsideTheDisk(t *testing.T) {
	for _, last := range []uint64{64, 9, 1 << 63} {
		d := newTestTable(512, "EFI")
		for _, at := range []struct{ header, table int64 }{{1, 2}, {63, 60}} {
			entries := d.bytes[at.table*512:][:testEntries*testEntrySize]
			binary.LittleEndian.PutUint64(entries[40:], last)
			binary.LittleEndian.PutUint32(d.bytes[at.header*512+88:], crc32.ChecksumIEEE(entries))
			d.sign(at.header)
		}
		if got, err := d.read(); !errors.Is(err, errNoGPT) {
			t.Errorf("last sector %d: got %v, %v", last, got, err)
		}
	}
}

// FuzzReadGPT: whatever is on the disk, the reader returns, in bounded memory,
// and what it returns lies on the disk. To get past the checksums, the fuzzer's
// bytes go into a table that is signed afterwards.
func FuzzReadGPT(f *testing.F) {
	sound := newTestTable(512, "EFI", "SYSTEM-A")
	f.Add(sound.bytes[512:604], sound.bytes[1024:1024+256], false)
	f.Add(sound.bytes[512:604], sound.bytes[1024:1024+256], true)
	f.Add(newTestTable(512).bytes[512:604], []byte{}, true)
	f.Fuzz(func(t *testing.T, header, entries []byte, sign bool) {
		d := newTestTable(512, "EFI")
		copy(d.bytes[512:1024], header)
		copy(d.bytes[1024:1024+testEntries*testEntrySize], entries)
		if sign {
			h := d.bytes[512:1024]
			size := binary.LittleEndian.Uint32(h[12:])
			binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(d.bytes[1024:1024+testEntries*testEntrySize]))
			if size <= 512 {
				clear(h[16:20])
				binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:size]))
			}
		}
		got, err := d.read()
		if err != nil && got != nil {
			t.Fatal("a result and an error")
		}
		for _, e := range got {
			if e.start < 512 || e.size < 512 || e.start+e.size > int64(len(d.bytes)) {
				t.Fatalf("%+v is not on the disk", e)
			}
		}
	})
}
