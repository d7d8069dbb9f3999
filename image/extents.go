package image

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// extent is a run of a file's bytes that lie one after the other on the device.
// All fields are in bytes.
type extent struct {
	logical  int64 // place in the file
	physical int64 // place on the file system's device
	length   int64
}

// errNoMap says that the file system does not tell where a file's bytes are, or
// that they are nowhere.
var errNoMap = errors.New("no complete map of the file's blocks")

// Constants of linux/fiemap.h and linux/fs.h.
const (
	ioctlFiemap     = 0xc020660b // FS_IOC_FIEMAP
	extentLast      = 0x0001     // FIEMAP_EXTENT_LAST
	extentUnwritten = 0x0800     // FIEMAP_EXTENT_UNWRITTEN: reads as zeros, whatever the device has
	extentMerged    = 0x1000     // FIEMAP_EXTENT_MERGED
)

// rawExtent and rawMap are struct fiemap_extent, and struct fiemap with room for
// some of them.
type rawExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

type rawMap struct {
	start, length           uint64
	flags, mapped, count, _ uint32
	extents                 [64]rawExtent
}

// maxExtents bounds how scattered a file may be for its map to be of use.
const maxExtents = 4096

// extentsOf returns where the first size bytes of a file are on its device, in
// order and without gaps; the last extent may reach beyond size. Where
// preallocated is set, blocks that were never written are fine. Every other
// doubt (a hole, data that lies in the inode, is compressed, encrypted, shared
// or not yet placed) is errNoMap.
func extentsOf(f *os.File, size int64, preallocated bool) ([]extent, error) {
	allowed := uint32(extentLast | extentMerged)
	if preallocated {
		allowed |= extentUnwritten
	}
	var list []extent
	for end := int64(0); end < size; {
		m := rawMap{start: uint64(end), length: uint64(size - end), count: uint32(len(rawMap{}.extents))}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioctlFiemap, uintptr(unsafe.Pointer(&m)))
		if errno != 0 {
			return nil, fmt.Errorf("%w: %w", errNoMap, errno)
		}
		if m.mapped == 0 || int(m.mapped) > len(m.extents) || len(list) > maxExtents {
			return nil, errNoMap
		}
		for _, r := range m.extents[:m.mapped] {
			e := extent{int64(r.logical), int64(r.physical), int64(r.length)}
			if r.flags&^allowed != 0 || e.logical != end || e.length <= 0 || e.physical <= 0 {
				return nil, fmt.Errorf("%w: flags %#x at byte %d", errNoMap, r.flags, r.logical)
			}
			list, end = addExtent(list, e), e.logical+e.length
		}
	}
	return list, nil
}

// addExtent adds an extent behind the others, and makes one of two that lie one
// behind the other: how the file system cuts them says nothing.
func addExtent(list []extent, e extent) []extent {
	if n := len(list); n > 0 && list[n-1].physical+list[n-1].length == e.physical {
		list[n-1].length += e.length
		return list
	}
	return append(list, e)
}

// sameBlocks reports whether two maps put the first size bytes of a file on the
// same places.
func sameBlocks(a, b []extent, size int64) bool {
	return slices.Equal(clip(a, size), clip(b, size))
}

// clip cuts a map at size bytes of the file.
func clip(list []extent, size int64) []extent {
	var cut []extent
	for _, e := range list {
		if e.logical >= size {
			break
		}
		e.length = min(e.length, size-e.logical)
		cut = append(cut, e)
	}
	return cut
}
