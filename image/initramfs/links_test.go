package initramfs

import (
	"slices"
	"testing"
)

// Which names are one file holds up to a trailer; archives behind each other may
// use the same numbers, and the same names.
func TestRenumber(t *testing.T) {
	linked := func(name string) file { return file{name: name, inode: 5, links: 2, on: [2]uint32{8, 1}} }
	one := archive(linked("a"), linked("b"), file{name: "folder", mode: 0o040755, links: 2, inode: 5}, file{name: "alone", inode: 5})
	two := archive(linked("a"), linked("c"), file{name: "device", mode: 0o020600, inode: 5, links: 2, on: [2]uint32{8, 1}})
	for name, data := range map[string][]byte{
		"one member":  slices.Concat(one, two),
		"two members": slices.Concat(through(t, one, "", "gzip"), through(t, two, "", "zstd")),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := unpackBytes(data)
			if err != nil {
				t.Fatal(err)
			}
			renumber(c.entries)
			number := func(i int) uint32 { return c.entries[i].inode }
			if number(0) == 0 || number(0) != number(1) || number(2) != 0 || number(3) != 0 {
				t.Errorf("the first archive has %d, %d, %d, %d", number(0), number(1), number(2), number(3))
			}
			if number(4) == number(0) || number(4) != number(5) || number(6) == number(4) || number(6) == 0 {
				t.Errorf("the second archive has %d, %d, %d; the first %d", number(4), number(5), number(6), number(0))
			}
		})
	}
}
