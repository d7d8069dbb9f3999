package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The format of a write log is that of Linux' dm-log-writes
// (drivers/md/dm-log-writes.c), as QEMU's driver blklogwrites writes it: a
// superblock of one sector, then the requests in the order in which they
// completed, each a header of one sector and, for a write, its bytes. All
// numbers are little-endian.
const (
	logMagic   = 0x6a736677736872
	logVersion = 1

	flagFlush   = 1 << 0 // what completed before is on the disk for good
	flagFUA     = 1 << 1 // this write is on the disk for good
	flagDiscard = 1 << 2 // no bytes follow
	flagMark    = 1 << 3 // a note for people
	flagsKnown  = flagFlush | flagFUA | flagDiscard | flagMark

	logHeaderSize = 32
	sectorSize    = 512
)

// errLog is wrapped by every error that says that a file is no write log.
var errLog = errors.New("not a log of writes")

// request is one request that a disk got: a write, a flush, or both.
type request struct {
	offset int64 // on the disk, in bytes
	size   int64 // bytes written; 0 for a flush
	data   int64 // where these bytes are in the log
	flush  bool  // what was written until now is on the disk for good
	fua    bool  // what this request writes is on the disk for good
}

func (r request) end() int64 { return r.offset + r.size }

// parseLog returns the requests in a log of size bytes. A log whose machine was
// killed ends with its last flush. Marks are left out. The error wraps errLog if
// the log makes no sense, or holds what is not understood here: discards, which
// no test machine sends.
func parseLog(r io.ReaderAt, size int64) ([]request, error) {
	super := make([]byte, logHeaderSize)
	if _, err := r.ReadAt(super, 0); err != nil {
		return nil, fmt.Errorf("superblock: %w", errors.Join(errLog, err))
	}
	le := binary.LittleEndian
	count, sector := le.Uint64(super[16:]), int64(le.Uint32(super[24:]))
	if le.Uint64(super) != logMagic || le.Uint64(super[8:]) != logVersion || sector != sectorSize {
		return nil, fmt.Errorf("superblock: %w", errLog)
	}
	var all []request
	at := sector
	for n := range count {
		req, next, mark, err := parseRequest(r, at, size)
		if err != nil {
			return nil, fmt.Errorf("request %d of %d: %w", n, count, err)
		}
		if !mark {
			all = append(all, req)
		}
		at = next
	}
	return all, nil
}

// parseRequest reads the request at a place in the log and returns where the
// next one is.
func parseRequest(r io.ReaderAt, at, size int64) (req request, next int64, mark bool, err error) {
	header := make([]byte, logHeaderSize)
	if at > size-sectorSize {
		return req, 0, false, fmt.Errorf("behind the end: %w", errLog)
	}
	if _, err := r.ReadAt(header, at); err != nil {
		return req, 0, false, errors.Join(errLog, err)
	}
	le := binary.LittleEndian
	sector, sectors, flags, length := le.Uint64(header), le.Uint64(header[8:]), le.Uint64(header[16:]), le.Uint64(header[24:])
	const most = 1 << 40 // sectors: far more than a test disk has, and no product overflows
	switch {
	case flags&^flagsKnown != 0:
		return req, 0, false, fmt.Errorf("flags %#x: %w", flags, errLog)
	case flags&flagDiscard != 0 && sectors > 0:
		return req, 0, false, fmt.Errorf("a discard: %w", errLog)
	case sector > most || sectors > most || length > most:
		return req, 0, false, fmt.Errorf("%d sectors at %d: %w", sectors, sector, errLog)
	}
	mark = flags&flagMark != 0
	at += sectorSize
	req = request{
		offset: int64(sector) * sectorSize, size: int64(sectors) * sectorSize, data: at,
		flush: flags&flagFlush != 0, fua: flags&flagFUA != 0,
	}
	next = at + req.size
	if mark { // its text takes whole sectors
		next = at + (int64(length)+sectorSize-1)/sectorSize*sectorSize
	}
	if next > size {
		return req, 0, false, fmt.Errorf("%d bytes are cut off: %w", next-size, errLog)
	}
	return req, next, mark, nil
}
