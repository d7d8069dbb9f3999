package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/chunks"
)

// faulty is a source with one file; each request takes the next fault.
type faulty struct {
	data   []byte
	mu     sync.Mutex
	faults []byte
}

func (s *faulty) open(_ context.Context, _ string, offset, end int64) (*content, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault := byte(0)
	if len(s.faults) > 0 {
		fault, s.faults = s.faults[0], s.faults[1:]
	}
	if end < 0 {
		end = int64(len(s.data))
	}
	body := s.data[offset:end]
	answer := &content{start: offset, total: int64(len(s.data)), part: offset > 0 || end < int64(len(s.data))}
	switch fault % 8 {
	case 1:
		body, answer.start, answer.part = s.data, 0, false
	case 2:
		return nil, errNoRange
	case 3:
		body = bytes.Clone(body)
		body[len(body)/2] ^= 1
	case 4:
		body = body[:len(body)/2]
	case 5:
		return nil, &NetworkError{Reason: ReasonUnreachable, Err: io.ErrUnexpectedEOF, transient: true}
	}
	answer.body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// payload is a file, an older one that it was made from, and the file's map.
type payload struct {
	data, old []byte
	chunks    *chunks.Map
}

// newPayload makes the older file of a size and edits it: each three bytes of
// edits are a place, a kind and a length.
func newPayload(t testing.TB, size uint16, edits []byte) payload {
	t.Helper()
	p := payload{old: make([]byte, int(size)*2)}
	noise := rand.NewChaCha8([32]byte{})
	_, _ = noise.Read(p.old)
	clear(p.old[len(p.old)/4 : len(p.old)/2]) // the same chunk again and again
	p.data = bytes.Clone(p.old)
	for ; len(edits) >= 3 && len(p.data) < 1<<19; edits = edits[3:] {
		at, n := len(p.data)*int(edits[0])/256, int(edits[2])*16
		to := min(at+n, len(p.data))
		part := make([]byte, n)
		_, _ = noise.Read(part)
		switch edits[1] % 4 {
		case 0: // replace
			copy(p.data[at:], part)
		case 1: // insert
			p.data = append(p.data[:at:at], append(part, p.data[at:]...)...)
		case 2: // remove
			p.data = append(p.data[:at:at], p.data[to:]...)
		case 3: // move to the front
			p.data = append(bytes.Clone(p.data[at:to]), append(p.data[:at:at], p.data[to:]...)...)
		}
	}
	p.data = append(p.data, 'e') // never empty
	p.chunks = mapped(t, p.data)
	return p
}

func mapped(t testing.TB, data []byte) *chunks.Map {
	t.Helper()
	b := chunks.NewBuilder(chunks.Params{Min: 1 << 10, Average: 2 << 10, Max: 6 << 10})
	_, _ = b.Write(data)
	m, err := b.Map()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lie lets a map say of each so many chunks that one of want's is there.
func lie(m, want *chunks.Map, every int) {
	for i := range m.Chunks {
		if i%every == every-1 {
			m.Chunks[i].ID = want.Chunks[i%len(want.Chunks)].ID
		}
	}
}

func (p payload) build(s source, w io.Writer, requests int, seeds ...[]byte) *build {
	sum := sha256.Sum256(p.data)
	info := &tuf.TargetFiles{Length: int64(len(p.data)), Hashes: tuf.Hashes{"sha256": sum[:]}}
	c := &Client{source: s, log: slog.New(slog.DiscardHandler), retry: defaultBackoff()}
	c.retry.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	b := &build{
		download: &download{Client: c, name: "payload", length: info.Length, verifier: newVerifier("payload", info), w: w, buf: make([]byte, copyBuffer)},
		delta:    Delta{Map: p.chunks, MaxRequests: requests},
	}
	for _, s := range seeds {
		b.delta.Seeds = append(b.delta.Seeds, Seed{Content: bytes.NewReader(s), Size: int64(len(s))})
	}
	return b
}

// FuzzDelta puts files together that were made by random edits from older ones,
// going on from what is held, with a server that fails in random ways, and with seeds
// whose maps are right (lies is 1), or lie, or are not there (0). Nil means that the
// file is right; where nothing failed, it is nil, and no byte was fetched or copied
// twice.
func FuzzDelta(f *testing.F) {
	f.Add(uint16(1000), uint16(0), uint8(48), []byte{}, []byte{}, uint8(0))
	f.Add(uint16(1000), uint16(0), uint8(48), []byte{}, []byte{}, uint8(1))
	f.Add(uint16(60000), uint16(0), uint8(48), []byte{10, 0, 1, 90, 1, 20, 150, 2, 200, 220, 3, 255}, []byte{}, uint8(0))
	f.Add(uint16(60000), uint16(0), uint8(48), []byte{10, 0, 1, 90, 1, 20, 150, 2, 200, 220, 3, 255}, []byte{}, uint8(1))
	f.Add(uint16(60000), uint16(33333), uint8(2), []byte{50, 0, 1, 90, 0, 20, 150, 0, 200}, []byte{}, uint8(0))
	f.Add(uint16(60000), uint16(33333), uint8(2), []byte{50, 0, 1, 90, 0, 20, 150, 0, 200}, []byte{}, uint8(1))
	f.Add(uint16(60000), uint16(0), uint8(9), []byte{50, 0, 1, 90, 0, 20, 150, 0, 200}, []byte{0, 5, 4, 3}, uint8(0))
	f.Add(uint16(60000), uint16(0), uint8(9), []byte{50, 0, 1, 90, 0, 20, 150, 0, 200}, []byte{0, 5, 4, 3}, uint8(1))
	f.Add(uint16(60000), uint16(7), uint8(9), []byte{50, 0, 1, 90, 0, 20, 150, 0, 200}, []byte{4, 1}, uint8(0))
	f.Add(uint16(60000), uint16(7), uint8(9), []byte{50, 0, 1, 90, 0, 20, 150, 0, 200}, []byte{4, 1}, uint8(1))
	f.Add(uint16(60000), uint16(7), uint8(9), []byte{50, 0, 1, 90, 0, 20, 150, 0, 200}, []byte{0, 2, 5, 5, 5, 5, 5}, uint8(0))
	f.Add(uint16(60000), uint16(7), uint8(9), []byte{50, 0, 1, 90, 0, 20, 150, 0, 200}, []byte{0, 2, 5, 5, 5, 5, 5}, uint8(1))
	f.Add(uint16(60000), uint16(7), uint8(9), []byte{50, 0, 1, 90, 0, 20, 150, 0, 200}, []byte{}, uint8(2))
	f.Add(uint16(60000), uint16(7), uint8(9), []byte{50, 0, 1, 90, 0, 20, 150, 0, 200}, []byte{}, uint8(100))
	f.Fuzz(func(t *testing.T, size, held uint16, requests uint8, edits, faults []byte, lies uint8) {
		p := newPayload(t, size, edits)
		s := &faulty{data: p.data, faults: faults}
		have := p.data[:int(held)%(len(p.data)+1)]
		got := bytes.NewBuffer(bytes.Clone(have))
		b := p.build(s, got, int(requests), p.old[:len(p.old)/2], p.old)
		for i, old := range [][]byte{p.old[:len(p.old)/2], p.old} {
			if lies == 0 {
				break
			}
			m := mapped(t, old)
			if lies > 1 {
				lie(m, p.chunks, int(lies))
			}
			b.delta.Seeds[i].Map = func() *chunks.Map { return m }
		}
		err := b.run(t.Context(), bytes.NewReader(have))
		if err == nil && !bytes.Equal(got.Bytes(), p.data) {
			t.Error("a wrong file was taken for the right one")
		}
		if got.Len() > len(p.data) {
			t.Errorf("%d bytes of %d", got.Len(), len(p.data))
		}
		if len(bytes.Trim(faults, "\x00")) > 0 {
			return
		}
		if err != nil {
			t.Error(err)
		}
		if sum := b.fetched.Load() + b.reused; sum != int64(len(p.data)-len(have)) {
			t.Errorf("%d bytes fetched and copied, of %d", sum, len(p.data)-len(have))
		}
		if n := b.requests.Load(); n > max(int64(requests), 1) && lies <= 1 {
			t.Errorf("%d requests, at most %d", n, requests)
		}
	})
}

// A chunk that is there many times is found once, and quickly.
func TestFinderRepeatedChunk(t *testing.T) {
	zeros := make([]byte, 64<<20)
	b := chunks.NewBuilder(chunks.Params{Min: 1 << 10, Average: 2 << 10, Max: 3 << 10})
	_, _ = b.Write(zeros)
	m, err := b.Map()
	if err != nil {
		t.Fatal(err)
	}
	f := newFinder(m, 0)
	if f.missing > 2 {
		t.Errorf("%d different chunks", f.missing)
	}
	read := &countingReader{Reader: bytes.NewReader(zeros)}
	if err := f.search(t.Context(), 7, Seed{Content: read, Size: int64(len(zeros))}, make([]byte, slabSize)); err != nil {
		t.Fatal(err)
	}
	for i := range m.Chunks[:len(m.Chunks)-1] {
		if seed, offset, ok := f.at(i); seed != 7 || offset != 0 || !ok {
			t.Fatalf("chunk %d is at %d of seed %d, %t", i, offset, seed, ok)
		}
	}
}

// A search ends when everything was found.
func TestFinderStops(t *testing.T) {
	p := newPayload(t, 50000, nil)
	seed := append(bytes.Clone(p.data), make([]byte, 64<<20)...)
	// The last chunk ends with the file, so it is not found in a longer one.
	p.chunks.Chunks = p.chunks.Chunks[:len(p.chunks.Chunks)-1]
	f := newFinder(p.chunks, 0)
	read := &countingReader{Reader: bytes.NewReader(seed)}
	if err := f.search(t.Context(), 0, Seed{Content: read, Size: int64(len(seed))}, make([]byte, slabSize)); err != nil {
		t.Fatal(err)
	}
	if f.missing != 0 || read.n > 16<<20 {
		t.Errorf("%d chunks are missing, %d bytes were read", f.missing, read.n)
	}
}

// A search ends with its context.
func TestFinderCanceled(t *testing.T) {
	p := newPayload(t, 50000, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := newFinder(p.chunks, 0).search(ctx, 0, Seed{Content: bytes.NewReader(p.old), Size: int64(len(p.old))}, make([]byte, slabSize))
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type countingReader struct {
	*bytes.Reader
	n int64
}

func (r *countingReader) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.Reader.ReadAt(p, offset)
	r.n += int64(n)
	return n, err
}

// BenchmarkSearch splits and hashes a seed of 110 MB in which nothing is found.
func BenchmarkSearch(b *testing.B) {
	p := newPayload(b, 50000, nil)
	seed := make([]byte, 110_000_000)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(seed)
	p.chunks.Params = chunks.DefaultParams()
	slab := make([]byte, slabSize)
	b.SetBytes(int64(len(seed)))
	for b.Loop() {
		if err := newFinder(p.chunks, 0).search(b.Context(), 0, Seed{Content: bytes.NewReader(seed), Size: int64(len(seed))}, slab); err != nil {
			b.Fatal(err)
		}
	}
}
