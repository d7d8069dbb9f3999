package initramfs

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// maxWindow bounds the memory that reading a member takes. It is the largest
// window of zstd that the kernel unpacks (lib/decompress_unzstd.c).
const maxWindow = 128 << 20

// format is a way in which a member can be compressed, and how it is known
// (lib/decompress.c in the kernel).
type format struct {
	name  string
	magic string
	// open returns the content of the member at the input's beginning.
	open func(in *bufio.Reader) (io.ReadCloser, error)
	// bounded says that open reads no byte behind the member. Others are read as
	// the input's last one only.
	bounded bool
}

func formats() []format {
	return []format{
		{"zstd", "\x28\xb5\x2f\xfd", openZstd, true},
		{"gzip", "\x1f\x8b", openGzip, true},
		{"xz", "\xfd7zXZ\x00", func(in *bufio.Reader) (io.ReadCloser, error) { return open(xz.NewReader(in)) }, false},
		{"lz4", "\x02\x21\x4c\x18", func(in *bufio.Reader) (io.ReadCloser, error) { return open(lz4.NewReader(in), nil) }, false},
		{"bzip2", "BZh", func(in *bufio.Reader) (io.ReadCloser, error) { return open(bzip2.NewReader(in), nil) }, false},
		{"lzma", "\x5d\x00\x00", nil, false},
		{"lzop", "\x89LZO", nil, false},
	}
}

// Look returns why the file at path cannot be an initramfs, by its first bytes; the
// error wraps ErrFormat. That it returns nil proves nothing.
func Look(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	start := make([]byte, 8)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: %w", path, err)
	}
	if start = start[:n]; bytes.HasPrefix(start, []byte("070701")) || bytes.HasPrefix(start, []byte("070702")) {
		return nil
	}
	if f, err := formatOf(start); err != nil && f.name == "" { // one that is not read here has a name
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func open(r io.Reader, err error) (io.ReadCloser, error) { return io.NopCloser(r), err }

// formatOf says how a member that begins with start is compressed.
func formatOf(start []byte) (format, error) {
	for _, f := range formats() {
		if !bytes.HasPrefix(start, []byte(f.magic)) {
			continue
		}
		if f.open == nil {
			return f, malformed("what is compressed with %s is not read here; unpack it first", f.name)
		}
		return f, nil
	}
	switch {
	case bytes.HasPrefix(start, []byte("07070")):
		return format{}, malformed("an archive begins at an offset that is not divisible by 4, where the kernel does not look for one")
	case bytes.HasPrefix(start, []byte("\x04\x22\x4d\x18")):
		return format{}, malformed("it is compressed with lz4 in the frame format; the kernel reads only the legacy one (lz4 -l)")
	}
	return format{}, malformed("% x begins neither an archive nor anything compressed that the kernel knows", start)
}

func openGzip(in *bufio.Reader) (io.ReadCloser, error) {
	z, err := gzip.NewReader(in)
	if err == nil {
		z.Multistream(false)
	}
	return z, err
}

// openZstd reads one frame, which is what the kernel takes for a member.
func openZstd(in *bufio.Reader) (io.ReadCloser, error) {
	f := &frame{in: in}
	d, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return &wholeFrame{d.IOReadCloser(), f}, nil
}

// wholeFrame does not let a frame that is cut short end well, which the decoder
// does before the first block.
type wholeFrame struct {
	io.ReadCloser
	frame *frame
}

func (w *wholeFrame) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err == io.EOF && !w.frame.ended() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// frame passes one zstd frame on and then ends (RFC 8878, 3.1.1): a header, and
// blocks that say how long they are and which is the last.
type frame struct {
	in   *bufio.Reader
	left int64 // bytes up to where the next block's header is, or the end
	last bool  // nothing comes after left
	tail int64 // of the checksum at the end
	open bool  // the frame's header was seen
}

func (f *frame) Read(p []byte) (int, error) {
	for f.left == 0 {
		if f.last {
			return 0, io.EOF
		}
		if err := f.advance(); err != nil {
			return 0, err
		}
	}
	n, err := f.in.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (f *frame) ended() bool { return f.last && f.left == 0 }

// advance reads the next header, without taking it from the input.
func (f *frame) advance() error {
	if !f.open {
		start, err := f.in.Peek(zstd.HeaderMaxSize)
		if err != nil && err != io.EOF {
			return err
		}
		var h zstd.Header
		if err := h.Decode(start); err != nil {
			return err
		}
		if h.Skippable {
			return errors.New("a frame to be skipped, which the kernel does not")
		}
		if h.HasCheckSum {
			f.tail = 4
		}
		f.open, f.left = true, int64(h.HeaderSize)
		return nil
	}
	raw, err := f.in.Peek(3)
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	header := binary.LittleEndian.Uint32(append(raw[:3:3], 0))
	f.left = 3 + int64(header>>3)
	if header>>1&3 == 1 { // one byte, many times
		f.left = 3 + 1
	}
	if header&1 != 0 {
		f.last = true
		f.left += f.tail
	}
	return nil
}
