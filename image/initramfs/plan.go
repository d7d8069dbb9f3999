package initramfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
)

// segment is a run of entries, from index from up to but not including to.
type segment struct {
	from, to int
	size     int64 // of its part of the archive in bytes
}

// plan cuts the archive into segments of about the given size in bytes. Whether
// the border between two entries is cut depends on them alone: on their names,
// and the larger they are the more likely it is. An entry of twice the size or
// more is always alone. The border never depends on what is elsewhere, so that
// everything else stays where it was if a file changes.
func plan(entries []entry, size int64) []segment {
	var all []segment
	at := segment{}
	for i := range entries {
		if i > at.from && (cut(&entries[i-1], size, behind) || cut(&entries[i], size, before)) {
			at.to = i
			all = append(all, at)
			at = segment{from: i}
		}
		at.size += entries[i].packed()
	}
	if at.from < len(entries) {
		at.to = len(entries)
		all = append(all, at)
	}
	return all
}

// side is a side of an entry.
type side int

const (
	before side = iota
	behind
)

// cut says whether that side of the entry is a border of a segment: as likely as
// the entry's part of twice the segment's size.
func cut(e *entry, size int64, s side) bool {
	hash := sha256.Sum256([]byte(e.Name))
	throw := uint64(binary.BigEndian.Uint32(hash[4*s:]))
	return throw*uint64(2*size) < uint64(e.packed())<<32
}

// packed is how long the entry is in the archive.
func (e *entry) packed() int64 {
	return padded(headerSize+int64(len(e.Name))+1) + padded(int64(e.Size))
}

// archived returns the part of the archive that the entries are, their contents
// from the unpacked ones.
func archived(entries []entry, unpacked io.ReaderAt) io.Reader {
	parts := make([]io.Reader, 0, 2*len(entries))
	var pending []byte // headers and padding up to the next content
	for i := range entries {
		e := &entries[i]
		pending = e.append(pending)
		if e.Size == 0 {
			continue
		}
		parts = append(parts, bytes.NewReader(pending), io.NewSectionReader(unpacked, e.at, int64(e.Size)))
		pending = make([]byte, padded(int64(e.Size))-int64(e.Size), 512)
	}
	return io.MultiReader(append(parts, bytes.NewReader(pending))...)
}

// ending is the entry that ends an archive.
func ending() []byte {
	end := entry{header: header{Name: trailer, Links: 1}}
	return end.append(nil)
}
