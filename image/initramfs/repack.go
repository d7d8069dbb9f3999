package initramfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Options say how to pack. The zero value packs with zstd as recommended.
type Options struct {
	Packing Packing // default: Zstd
	Level   int     // 1 to 22 for zstd, 1 to 9 for gzip; default: 19 and 9
	Segment int64   // about how long a segment is before it is compressed, in bytes; default: DefaultSegment
	Workers int     // goroutines that compress; default: one a core. They change nothing in the result

	// Progress is told how far each step is, in bytes. It may be nil.
	Progress func(step string, done, total int64)
}

// Result is what was packed. All sizes are in bytes.
type Result struct {
	Packing  Packing `json:"packing"`
	Level    int     `json:"level"`
	Segment  int64   `json:"segment"`         // about how long each was to be
	In       int64   `json:"bytes_in"`        // of the input
	Out      int64   `json:"bytes_out"`       // of the result
	Early    int64   `json:"bytes_early"`     // at the beginning of both, kept as they are
	Unpacked int64   `json:"bytes_unpacked"`  // of the archive that was compressed
	Entries  int     `json:"entries"`         // files, folders and so on in it
	Segments int     `json:"segments"`        // in which it was compressed
	Contents string  `json:"contents_sha256"` // of all entries: the same for each packing of the same ones
}

// Repack reads the initramfs at the path input, packs its entries anew and
// writes the result to the path output, which may be the same. The result is
// read again and each entry compared before the file gets its name; whatever goes
// wrong before leaves what was there. Output keeps the permissions that it has; a new
// one gets those of input. It needs room for the unpacked contents beside the output.
// Errors about the input wrap ErrFormat.
func Repack(ctx context.Context, input, output string, opts Options) (*Result, error) {
	if err := opts.Check(); err != nil {
		return nil, err
	}
	in, err := os.Open(input)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file, and it has to be read twice: copy it into one", input)
	}
	perm := info.Mode().Perm()
	if to, err := os.Stat(output); err == nil {
		if !to.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no file that could be replaced", output)
		}
		perm = to.Mode().Perm()
	}
	spool, err := unnamed(filepath.Dir(output))
	if err != nil {
		return nil, err
	}
	defer spool.Close()
	entries, err := unpack(ctx, in, info.Size(), spool, opts.step("reading", info.Size()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", input, err)
	}
	if len(entries.entries) == 0 {
		return nil, fmt.Errorf("%s: %w", input, malformed("there is no file in it that could be compressed"))
	}
	renumber(entries.entries)
	p := packer{opts: opts, in: in, contents: entries, unpacked: spool}
	var result *Result
	err = replace(output, perm, func(file *os.File) error {
		if result, err = p.pack(ctx, file); err != nil {
			return err
		}
		return p.verify(ctx, file, result)
	})
	if err != nil {
		return nil, err
	}
	result.In = info.Size()
	return result, nil
}

// Check puts the defaults in, and says what cannot be.
func (o *Options) Check() error {
	if o.Packing == "" {
		o.Packing = Zstd
	}
	codec, err := codecOf(o.Packing)
	if err != nil {
		return err
	}
	if o.Level == 0 {
		o.Level = codec.level
	}
	if o.Level < 1 || o.Level > codec.highest {
		return fmt.Errorf("level %d: %s has levels from 1 to %d", o.Level, o.Packing, codec.highest)
	}
	if o.Segment == 0 {
		o.Segment = DefaultSegment
	}
	if o.Segment < minSegment || o.Segment > maxSegment {
		return fmt.Errorf("segments of %d bytes: they can be between %d and %d", o.Segment, minSegment, maxSegment)
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	return nil
}

// step returns a function that is told how far that step is.
func (o *Options) step(name string, total int64) func(done int64) {
	if o.Progress == nil {
		return nil
	}
	return func(done int64) { o.Progress(name, done, total) }
}

// digest is the SHA-256 of all entries, in order: of each its header, as
// renumber leaves it, and the SHA-256 of its content.
func digest(entries []entry) string {
	all := sha256.New()
	for i := range entries {
		all.Write(entries[i].append(nil))
		all.Write(entries[i].sum[:])
	}
	return hex.EncodeToString(all.Sum(nil))
}
