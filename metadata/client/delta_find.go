package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"sort"
	"sync/atomic"

	"tufboot/metadata/chunks"
)

// finder knows where chunks of a map lie in old content. It takes 12 bytes per
// chunk, so that it stays small for any artifact.
type finder struct {
	params chunks.Params
	chunks []chunks.Chunk
	// order is the chunks that are looked for, by ID. Of those with one ID the
	// first stands for all.
	order []uint32
	// places says where the chunk at the same place of order lies: the number of
	// the seed, from 1, above the offset in it. 0: nowhere yet.
	places  []uint64
	missing int // IDs that were not found yet
}

// placeBits is for the offset in a place: seeds of up to 256 TiB.
const placeBits = 48

// newFinder returns one for the chunks of m from chunk first on.
func newFinder(m *chunks.Map, first int) *finder {
	f := &finder{params: m.Params, chunks: m.Chunks, order: make([]uint32, len(m.Chunks)-first)}
	f.places = make([]uint64, len(f.order))
	for i := range f.order {
		f.order[i] = uint32(first + i) //nolint:gosec // Parse bounds the number of chunks
	}
	slices.SortFunc(f.order, func(a, b uint32) int {
		return cmp.Or(bytes.Compare(f.chunks[a].ID[:], f.chunks[b].ID[:]), cmp.Compare(a, b))
	})
	for i, c := range f.order {
		if i == 0 || f.chunks[c].ID != f.chunks[f.order[i-1]].ID {
			f.missing++
		}
	}
	return f
}

// index returns the place in order of the first chunk with an ID.
func (f *finder) index(id *chunks.ID) (int, bool) {
	return sort.Find(len(f.order), func(i int) int {
		return bytes.Compare(id[:], f.chunks[f.order[i]].ID[:])
	})
}

// at returns where chunk i lies.
func (f *finder) at(i int) (seed int, offset int64, ok bool) {
	index, ok := f.index(&f.chunks[i].ID)
	if !ok || f.places[index] == 0 {
		return 0, 0, false
	}
	place := f.places[index]
	return int(place>>placeBits) - 1, int64(place & (1<<placeBits - 1)), true //nolint:gosec // 16 and 48 bits
}

// note says that a chunk with this ID lies there.
func (f *finder) note(id *chunks.ID, seed int, offset int64) {
	if index, ok := f.index(id); ok && f.places[index] == 0 {
		f.places[index] = uint64(seed+1)<<placeBits | uint64(offset) //nolint:gosec // neither is negative
		f.missing--
	}
}

// probes is how many chunks of a seed are looked at before its map is believed. The
// map of another file has none of them right. One that is wrong for a tenth passes in
// one case of five; it costs what a seed costs that changes meanwhile.
const probes = 16

// believe notes the chunks that are looked for by the seed's own map, if those that
// it looks at are there.
func (f *finder) believe(m *chunks.Map, number int, seed io.ReaderAt, buffer []byte) bool {
	every := max(len(m.Chunks)/probes, 1)
	var offset int64
	for i, c := range m.Chunks {
		data := buffer[:c.Length]
		if i%every == every/2 {
			if n, _ := seed.ReadAt(data, offset); n < len(data) || chunks.IDOf(data) != c.ID {
				return false
			}
		}
		offset += int64(c.Length)
	}
	offset = 0
	for i := range m.Chunks {
		f.note(&m.Chunks[i].ID, number, offset)
		offset += int64(m.Chunks[i].Length)
	}
	return true
}

// seedUnit is how much of a seed is read, and handed to hashing, at once.
const seedUnit = slabSize / 4

// errFound ends a search early.
var errFound = errors.New("everything was found")

// search splits a seed and notes the chunks in it that are looked for. One
// goroutine reads and splits, another hashes. slab is memory for both.
func (f *finder) search(ctx context.Context, number int, seed Seed, slab []byte) error {
	s := &search{full: make(chan *batch, 2), free: make(chan *batch, 3)}
	unit := slab[:seedUnit]
	for i := range 3 {
		s.free <- &batch{data: slab[(i+1)*seedUnit:][:0:seedUnit]}
	}
	s.open = <-s.free
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		s.hash(f, number)
	}()
	splitter := chunks.NewSplitter(f.params, s.add)
	var err error
	for offset := int64(0); offset < seed.Size && err == nil; {
		if err = ctx.Err(); err != nil {
			break
		}
		var n int
		n, err = seed.Content.ReadAt(unit[:min(seedUnit, seed.Size-offset)], offset)
		offset += int64(n)
		if _, splitErr := splitter.Write(unit[:n]); splitErr != nil {
			err = splitErr
		}
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = splitter.Close()
	}
	s.full <- s.open
	close(s.full)
	<-hashed
	if errors.Is(err, errFound) {
		err = nil
	}
	return err
}

// search is a seed that is being split and hashed.
type search struct {
	open       *batch
	full, free chan *batch
	found      atomic.Bool // everything
}

// batch is a run of a seed's chunks.
type batch struct {
	data    []byte
	lengths []uint32
}

// add takes the next chunk from the splitter.
func (s *search) add(chunk []byte) error {
	if len(s.open.data)+len(chunk) > cap(s.open.data) {
		s.full <- s.open
		s.open = <-s.free
		if s.found.Load() {
			return errFound
		}
	}
	s.open.data = append(s.open.data, chunk...)
	s.open.lengths = append(s.open.lengths, uint32(len(chunk))) //nolint:gosec // at most MaxChunk
	return nil
}

// hash names the chunks of the batches and notes those that are looked for.
func (s *search) hash(f *finder, seed int) {
	var offset int64
	for b := range s.full {
		data := b.data
		for _, n := range b.lengths {
			if f.missing == 0 {
				s.found.Store(true)
				break
			}
			id := chunks.IDOf(data[:n])
			f.note(&id, seed, offset)
			data, offset = data[n:], offset+int64(n)
		}
		b.data, b.lengths = b.data[:0], b.lengths[:0]
		s.free <- b
	}
}
