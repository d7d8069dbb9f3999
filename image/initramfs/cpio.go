package initramfs

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Sizes of the newc format (cpio(5)) and bounds that the kernel has (PATH_MAX).
const (
	headerSize = 110
	maxName    = 4096 // with the zero byte at its end
	maxSymlink = 4096
	alignment  = 4
)

// trailer is the name that ends an archive.
const trailer = "TRAILER!!!"

// Types of files in header.Mode.
const (
	modeType      = 0o170000
	modeSocket    = 0o140000
	modeSymlink   = 0o120000
	modeFile      = 0o100000
	modeBlock     = 0o060000
	modeDirectory = 0o040000
	modeCharacter = 0o020000
	modePipe      = 0o010000
)

// header is what an archive says of an entry.
type header struct {
	Name        string
	Mode        uint32 // type and permissions, as in stat(2)
	UID, GID    uint32
	Links       uint32
	ModTime     uint32    // seconds since 1970
	Device      [2]uint32 // major and minor number of a device node
	Size        uint32    // of the content in bytes
	inode       uint32
	on          [2]uint32 // the device that the file was on
	checksum    uint32    // sum of the content's bytes
	hasChecksum bool
	archive     int   // how many trailers came before: numbers of inodes hold up to the next
	start       int64 // offset of the header
}

// reader reads the entries of archives that follow each other. It takes what
// the kernel unpacks whole, and refuses what the kernel would skip or misread.
type reader struct {
	in       *bufio.Reader
	offset   int64
	left     int64 // bytes of the present entry's content that were not read
	archives int   // number of trailers seen
}

func newReader(in io.Reader) *reader {
	return &reader{in: bufio.NewReaderSize(in, 64<<10)}
}

// errOther says that something else than an archive follows, at offset.
var errOther = errors.New("no further entry")

// next returns the next entry's header. It is io.EOF at the end of the input,
// and errOther before a byte that begins no entry.
func (r *reader) next() (*header, error) {
	for {
		if err := r.skip(r.left); err != nil {
			return nil, err
		}
		r.left = 0
		if err := r.gap(); err != nil {
			return nil, err
		}
		start := r.offset
		h, err := r.header()
		if err != nil {
			return nil, fmt.Errorf("entry at byte %d: %w", start, err)
		}
		if h.Name != trailer {
			return h, nil
		}
		if h.Size != 0 {
			return nil, fmt.Errorf("entry at byte %d: %w", start, malformed("a trailer with a content"))
		}
		r.archives++
	}
}

// gap skips zero bytes before an entry.
func (r *reader) gap() error {
	for {
		b, err := r.in.Peek(1)
		switch {
		case err == io.EOF:
			return io.EOF
		case err != nil:
			return err
		case b[0] == '0' && r.offset%alignment == 0:
			return nil
		case b[0] != 0:
			return errOther
		}
		if err := r.skip(1); err != nil {
			return err
		}
	}
}

func (r *reader) header() (*header, error) {
	h := &header{archive: r.archives, start: r.offset}
	var raw [headerSize]byte
	if err := r.full(raw[:]); err != nil {
		return nil, err
	}
	switch magic := string(raw[:6]); magic {
	case "070701":
	case "070702":
		h.hasChecksum = true
	default:
		return nil, malformed("%q is not the newc format of cpio", magic)
	}
	var fields [13]uint32
	for i := range fields {
		var word [4]byte
		if _, err := hex.Decode(word[:], raw[6+8*i:14+8*i]); err != nil {
			return nil, malformed("field %d of the header is no hexadecimal number", i+1)
		}
		fields[i] = binary.BigEndian.Uint32(word[:])
	}
	h.inode, h.Mode, h.UID, h.GID, h.Links, h.ModTime, h.Size = fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], fields[6]
	h.on, h.Device = [2]uint32{fields[7], fields[8]}, [2]uint32{fields[9], fields[10]}
	h.checksum = fields[12]
	if err := r.name(h, fields[11]); err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%q: %w", h.Name, err)
	}
	r.left = padded(int64(h.Size))
	return h, nil
}

// name reads the name of length bytes, with the zero byte at its end.
func (r *reader) name(h *header, length uint32) error {
	if length < 2 || length > maxName {
		return malformed("a name of %d bytes", length)
	}
	raw := make([]byte, padded(headerSize+int64(length))-headerSize)
	if err := r.full(raw); err != nil {
		return err
	}
	name, _, _ := strings.Cut(string(raw[:length]), "\x00")
	if len(name) != int(length)-1 {
		return malformed("the name %q does not end where its length says", name)
	}
	h.Name = name
	return nil
}

// check refuses what the kernel would skip without a word.
func (h *header) check() error {
	if h.Name == trailer {
		return nil
	}
	switch kind := h.Mode & modeType; {
	case kind == modeFile:
	case kind == modeSymlink && (h.Size == 0 || h.Size >= maxSymlink):
		return malformed("a symbolic link to a name of %d bytes", h.Size)
	case kind == modeSymlink:
	case kind == modeDirectory, kind == modeCharacter, kind == modeBlock, kind == modePipe, kind == modeSocket:
		if h.Size != 0 {
			return malformed("only files and symbolic links have a content")
		}
	default:
		return malformed("unknown type of file %#o", h.Mode)
	}
	return nil
}

// content copies the present entry's content to w, and checks its sum if it has
// one. It is called once at most.
func (r *reader) content(h *header, w io.Writer) error {
	sum := &summer{w: w}
	n, err := io.CopyN(sum, r.in, int64(h.Size))
	r.offset += n
	r.left -= n
	if errors.Is(err, io.EOF) {
		err = malformed("it ends within the content")
	}
	if err == nil && h.hasChecksum && h.Mode&modeType == modeFile && sum.sum != h.checksum && h.Size > 0 {
		err = malformed("the content does not have the sum that the header says")
	}
	if err != nil {
		return fmt.Errorf("%q: %w", h.Name, err)
	}
	return nil
}

func (r *reader) skip(n int64) error {
	skipped, err := io.CopyN(io.Discard, r.in, n)
	r.offset += skipped
	if errors.Is(err, io.EOF) {
		return malformed("it ends within an entry")
	}
	return err
}

func (r *reader) full(p []byte) error {
	n, err := io.ReadFull(r.in, p)
	r.offset += int64(n)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("it ends within a header")
	}
	return err
}

// padded is n, rounded up to the format's alignment.
func padded(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// summer counts the bytes' sum on their way, the checksum of "070702".
type summer struct {
	w   io.Writer
	sum uint32
}

func (s *summer) Write(p []byte) (int, error) {
	for _, b := range p {
		s.sum += uint32(b)
	}
	return s.w.Write(p)
}

// append writes the header with its name and the padding behind it.
func (h *header) append(to []byte) []byte {
	start := len(to)
	to = fmt.Appendf(to, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		h.inode, h.Mode, h.UID, h.GID, h.Links, h.ModTime, h.Size, h.on[0], h.on[1], h.Device[0], h.Device[1], len(h.Name)+1, 0, h.Name)
	return append(to, make([]byte, padded(int64(len(to)-start))-int64(len(to)-start))...)
}
