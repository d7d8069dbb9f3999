package initramfs

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxEntries bounds the memory that the list of entries takes.
const maxEntries = 1 << 20

// entry is a file, with its content's hash and where that was put.
type entry struct {
	header
	sum   [sha256.Size]byte
	at    int64 // in the unpacked contents
	place int64 // of the header in the input, if that was not compressed
}

// contents are what is in an initramfs.
type contents struct {
	early   int64 // bytes at the beginning that stay as they are
	entries []entry
}

// unpacker reads an initramfs, member by member.
type unpacker struct {
	ctx      context.Context
	in       io.ReaderAt
	size     int64
	progress func(done int64)
	contents contents
	archives int
	written  int64
	out      *bufio.Writer
}

// unpack reads the initramfs of size bytes, and writes what its files hold to
// out, one after the other.
func unpack(ctx context.Context, in io.ReaderAt, size int64, out io.Writer, progress func(done int64)) (*contents, error) {
	u := &unpacker{ctx: ctx, in: in, size: size, progress: progress, out: bufio.NewWriterSize(out, 1<<20)}
	if err := u.refuseBootConfig(); err != nil {
		return nil, err
	}
	for at := int64(0); at < size; {
		next, err := u.member(at)
		if err != nil {
			return nil, fmt.Errorf("member at byte %d: %w", at, err)
		}
		if next <= at { // a decompressor that takes nothing
			return nil, fmt.Errorf("member at byte %d: %w", at, malformed("it is empty"))
		}
		at = next
	}
	return &u.contents, u.out.Flush()
}

// bootConfig ends a boot configuration, which the kernel looks for at the end
// (Documentation/admin-guide/bootconfig.rst).
const bootConfig = "#BOOTCONFIG\n"

func (u *unpacker) refuseBootConfig() error {
	end := make([]byte, min(u.size, int64(len(bootConfig))))
	if _, err := u.in.ReadAt(end, u.size-int64(len(end))); err != nil && err != io.EOF {
		return err
	}
	if string(end) == bootConfig {
		return malformed("it has a boot configuration at its end: take it off first (bootconfig -d), and apply it again afterwards")
	}
	return nil
}

// member reads the member at that offset and returns where the next one is.
func (u *unpacker) member(at int64) (next int64, err error) {
	counted := &counter{ctx: u.ctx, in: io.NewSectionReader(u.in, at, u.size-at), base: at, progress: u.progress}
	in := bufio.NewReaderSize(counted, 256<<10)
	start, err := in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	switch {
	case start[0] == 0:
		return u.zeros(at, in)
	case start[0] == '0' && at%alignment == 0:
		return u.plain(at, in)
	}
	f, err := formatOf(start)
	if err != nil {
		return 0, err
	}
	if err := u.compressed(f, in); err != nil {
		return 0, fmt.Errorf("%s: %w", f.name, err)
	}
	if !f.bounded {
		return u.size, nil
	}
	return at + counted.count - int64(in.Buffered()), nil
}

// zeros skips zero bytes between members.
func (u *unpacker) zeros(at int64, in *bufio.Reader) (int64, error) {
	for {
		b, err := in.ReadByte()
		if err == io.EOF {
			return at, nil
		}
		if err != nil {
			return 0, err
		}
		if b != 0 {
			return at, nil
		}
		at++
	}
}

// plain reads archives that are not compressed. Those that the kernel looks
// into before it unpacks anything stay as they are.
func (u *unpacker) plain(at int64, in io.Reader) (int64, error) {
	leading := len(u.contents.entries) == 0
	r := newReader(in)
	err := u.entries(r, at)
	if err != nil && !errors.Is(err, errOther) {
		return 0, err
	}
	end := at + r.offset
	if leading {
		u.keepEarly(end)
	}
	return end, nil
}

// keepEarly takes the early archives out of the list of entries, which end
// before the given offset.
func (u *unpacker) keepEarly(end int64) {
	all := u.contents.entries
	keep := 0
	for i := range all {
		if isEarly(all[i].Name) {
			for keep = i + 1; keep < len(all) && all[keep].archive == all[i].archive; {
				keep++
			}
		}
	}
	if keep == 0 {
		return
	}
	u.contents.early = end
	if keep < len(all) {
		u.contents.early = all[keep].place
	}
	u.contents.entries = all[keep:]
}

// isEarly says whether the kernel looks for a file of that name before it
// unpacks anything (arch/x86/kernel/cpu/microcode, drivers/acpi/tables.c), or
// whether dracut's mark of such archives is it.
func isEarly(name string) bool {
	name = strings.TrimPrefix(name, "./")
	return strings.HasPrefix(name, "kernel/x86/microcode/") || strings.HasPrefix(name, "kernel/firmware/acpi/") || name == "early_cpio"
}

// compressed reads a member that is compressed.
func (u *unpacker) compressed(f format, in *bufio.Reader) error {
	data, err := f.open(in)
	if err != nil {
		return malformed("%w", err)
	}
	defer data.Close()
	if err := u.entries(newReader(decompressed{data}), 0); err != nil {
		if errors.Is(err, errOther) {
			err = malformed("something else than an archive is compressed")
		}
		return err
	}
	return nil
}

// decompressed makes errors of a decompressor tell what they are about.
type decompressed struct{ io.Reader }

func (d decompressed) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		err = malformed("%w", err)
	}
	return n, err
}

// entries reads all entries of one member, which begins at that offset.
func (u *unpacker) entries(r *reader, at int64) error {
	r.archives = u.archives
	defer func() { u.archives = r.archives }()
	for {
		h, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(u.contents.entries) == maxEntries {
			return malformed("more than %d files", maxEntries)
		}
		e := entry{header: *h, at: u.written, place: at + h.start}
		digest := sha256.New()
		if err := r.content(h, io.MultiWriter(digest, u.out)); err != nil {
			return err
		}
		digest.Sum(e.sum[:0])
		u.written += int64(h.Size)
		u.contents.entries = append(u.contents.entries, e)
	}
}

// counter counts what is read, and ends with its context.
type counter struct {
	ctx      context.Context
	in       io.Reader
	base     int64
	count    int64
	progress func(done int64)
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.in.Read(p)
	c.count += int64(n)
	if c.progress != nil {
		c.progress(c.base + c.count)
	}
	return n, err
}
