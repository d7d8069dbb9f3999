package initramfs

import (
	"crypto/sha256"
	"encoding/binary"
)

// inode is what says that several names are one file (maybe_link in the kernel's
// init/initramfs.c).
type inode struct {
	archive int
	number  uint32
	on      [2]uint32
	kind    uint32
}

// linked says whether the entry may be another name of a file.
func (h *header) linked() bool {
	kind := h.Mode & modeType
	return h.Links > 1 && kind != modeDirectory && kind != modeSymlink
}

func (h *header) node() inode { return inode{h.archive, h.inode, h.on, h.Mode & modeType} }

// groups returns for each entry the index of the first one that is the same file.
func groups(entries []entry) []int {
	first := make(map[inode]int)
	all := make([]int, len(entries))
	for i := range entries {
		all[i] = i
		if !entries[i].linked() {
			continue
		}
		if same, ok := first[entries[i].node()]; ok {
			all[i] = same
		} else {
			first[entries[i].node()] = i
		}
	}
	return all
}

// renumber gives the entries numbers that do not depend on what else is in the
// archive: 0, and to files that may have several names one that comes from their
// first name.
func renumber(entries []entry) {
	group := groups(entries)
	taken := make(map[uint32]bool)
	for i := range entries {
		e := &entries[i]
		linked := e.linked()
		e.on, e.archive, e.hasChecksum, e.checksum = [2]uint32{}, 0, false, 0
		switch {
		case !linked:
			e.inode = 0
		case group[i] != i:
			e.inode = entries[group[i]].inode
		default:
			sum := sha256.Sum256([]byte(e.Name))
			number := binary.BigEndian.Uint32(sum[:])
			for number == 0 || taken[number] {
				number++
			}
			taken[number] = true
			e.inode = number
		}
	}
}
