package update

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"tufboot/image"
	"tufboot/metadata"
	"tufboot/metadata/chunks"
	"tufboot/metadata/client"
)

// otherSlot is the slot that is not written. It is opened once, if at all.
type otherSlot struct {
	part   image.Partition
	reader *image.Reader
	err    error // of opening it
}

// open opens a file of the slot.
func (o *otherSlot) open(name string) (*image.SeedFile, error) {
	if o.reader == nil && o.err == nil {
		o.reader, o.err = image.OpenSlot(o.part)
	}
	if o.err != nil {
		return nil, o.err
	}
	return o.reader.Open(name)
}

func (o *otherSlot) close() {
	if o.reader != nil {
		_ = o.reader.Close() // read only
	}
}

// seeds are old content that is open.
type seeds struct {
	list   []client.Seed
	opened []*image.SeedFile
}

// openSeeds opens what may hold parts of a file's new content: the file in the
// slot that is not written, the old one in the slot that is, and what an earlier
// run left of that. What cannot be opened is no seed.
func (n *Node) openSeeds(w *image.Writer, file slotFile) *seeds {
	s := new(seeds)
	other := file.delta.transfer.other
	f, err := other.open(file.name)
	if err == nil {
		var maps []*image.SeedFile
		if m, err := other.open(mapName(file)); err == nil {
			maps = append(maps, m)
		}
		s.opened = append(s.opened, maps...)
		n.add(s, "slot "+other.part.Name, f, maps)
	} else if !errors.Is(err, fs.ErrNotExist) {
		n.Logger.Warn("the other slot's file cannot be reused", "file", file.name, "error", err)
	}
	old, err := w.OpenSeeds(file.name)
	maps, merr := w.OpenSeeds(mapName(file))
	s.opened = append(s.opened, maps...)
	for _, f := range old {
		n.add(s, "old file", f, maps)
	}
	if err := errors.Join(err, merr); err != nil {
		n.Logger.Warn("the slot's old file cannot be reused", "file", file.name, "error", err)
	}
	return s
}

// add adds a file, and what may be its chunk map.
func (n *Node) add(s *seeds, name string, f *image.SeedFile, maps []*image.SeedFile) {
	s.opened = append(s.opened, f)
	s.list = append(s.list, client.Seed{Name: name, Content: f, Size: f.Size(), Map: func() *chunks.Map {
		for _, stored := range maps {
			m, err := readMap(stored, f.Size())
			if err == nil {
				return m
			}
			n.Logger.Info("a chunk map in a slot is not that of the file beside it", "seed", name, "error", err)
		}
		return nil
	}})
}

// readMap reads the chunk map of a file of the given size. The error wraps
// chunks.ErrFormat where it is none: nobody vouches for what lies in a slot.
func readMap(stored *image.SeedFile, size int64) (*chunks.Map, error) {
	if most := min(metadata.MaxChunkMap(size), maxMap); stored.Size() > most {
		return nil, fmt.Errorf("%d bytes are more than %d: %w", stored.Size(), most, chunks.ErrFormat)
	}
	data := make([]byte, stored.Size())
	if _, err := stored.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return chunks.Parse(data, size)
}

func (s *seeds) close() {
	for _, f := range s.opened {
		_ = f.Close() // read only
	}
}
