package initramfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// Packing is a way to compress the segments.
type Packing string

// The packings. The kernel needs CONFIG_RD_ZSTD (since Linux 5.9) or CONFIG_RD_GZIP.
const (
	Zstd Packing = "zstd" // smaller, and unpacked faster
	Gzip Packing = "gzip"
)

// DefaultSegment is the size of a segment in bytes, before it is compressed.
// docs/delta.md has the measurements.
const DefaultSegment = 256 << 10

// Bounds of Options.Segment.
const (
	minSegment = 4 << 10
	maxSegment = 1 << 30
)

// compress writes a segment of size bytes, compressed, to out. The result
// depends on nothing else.
type compress func(out *bytes.Buffer, segment io.Reader, size int64) error

// codec is how a packing is written.
type codec struct {
	highest, level int // levels go from 1 to highest
	begin          []byte
	// worker returns a function for one goroutine.
	worker func(level int) (compress, error)
	// end returns what comes behind all segments, which are total bytes together
	// with that CRC-32. It is nil if there is nothing.
	end func(total int64, crc uint32) []byte
}

func codecOf(p Packing) (codec, error) {
	switch p {
	case Zstd:
		return codec{highest: 22, level: 19, worker: zstdWorker}, nil
	case Gzip:
		// RFC 1952, 2.3: no name and no time, of no system.
		begin := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}
		return codec{highest: 9, level: 9, begin: begin, worker: deflateWorker, end: gzipEnd}, nil
	}
	return codec{}, fmt.Errorf("packing %q: there are %s and %s", p, Zstd, Gzip)
}

// window is how far zstd looks back, in bytes. A decoder needs that much memory;
// every decoder has to have 8 MiB (RFC 8878, 3.1.1.1.2).
const window = 8 << 20

// zstdWorker makes each segment a frame, which the kernel takes for a member.
func zstdWorker(level int) (compress, error) {
	// One goroutine a worker: how the library divides work among several is not
	// part of what comes out.
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return func(out *bytes.Buffer, segment io.Reader, size int64) error {
		z.ResetContentSize(out, size)
		if _, err := z.ReadFrom(segment); err != nil {
			return err
		}
		return z.Close()
	}, nil
}

// deflateWorker makes each segment a part of one deflate stream that ends at a
// whole byte and refers to nothing before it.
func deflateWorker(level int) (compress, error) {
	z, err := flate.NewWriter(nil, level)
	if err != nil {
		return nil, err
	}
	return func(out *bytes.Buffer, segment io.Reader, _ int64) error {
		z.Reset(out)
		if _, err := io.Copy(z, segment); err != nil {
			return err
		}
		return z.Flush()
	}, nil
}

// gzipEnd ends the deflate stream with an empty block (RFC 1951, 3.2.4) and the
// gzip member with sum and length.
func gzipEnd(total int64, crc uint32) []byte {
	end := []byte{1, 0, 0, 0xff, 0xff}
	end = binary.LittleEndian.AppendUint32(end, crc)
	return binary.LittleEndian.AppendUint32(end, uint32(total))
}
