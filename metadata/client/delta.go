package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"tufboot/metadata"
	"tufboot/metadata/chunks"
)

// ErrDelta is in the chain of a VerificationError of DownloadDelta when a chunk
// map was used, which may be the map of another file: start again without one
// once before blaming the server.
var ErrDelta = errors.New("the chunk map may be the wrong one")

// Seed is old content in which chunks of an artifact may be found. It is never
// trusted: what is copied from it is checked like what comes from the server.
type Seed struct {
	Name    string // for the log
	Content io.ReaderAt
	Size    int64 // in bytes
	// Map returns what somebody says of where chunks lie in Content, which need not
	// be searched then. It is called at most once, and only if chunks are wanted yet.
	// Nil, or one with other Params than the artifact's: there is none.
	Map func() *chunks.Map
}

// Delta says of what an artifact can be put together.
type Delta struct {
	// Map is the artifact's chunk map (see ChunkMap). Nil: all of it is fetched.
	Map *chunks.Map
	// Seeds are looked through in this order until every chunk is found: those with a
	// map first, since that costs nothing.
	Seeds []Seed
	// MaxRequests is for how many parts the server is asked at most when nothing
	// goes wrong; below 1 counts as 1.
	MaxRequests int
}

// Usage is what a download cost.
type Usage struct {
	Fetched  int64 `json:"fetched"`  // bytes that came from the server
	Reused   int64 `json:"reused"`   // bytes that were copied from old content
	Requests int   `json:"requests"` // made, also those that failed
}

// Add adds another download's cost.
func (u *Usage) Add(more Usage) {
	u.Fetched += more.Fetched
	u.Reused += more.Reused
	u.Requests += more.Requests
}

// ChunkMap fetches and verifies the chunk map of an artifact, which the release
// names with it. Refresh must have succeeded before. The error wraps
// chunks.ErrFormat if the map makes no sense: then there is no map for this
// program.
func (c *Client) ChunkMap(ctx context.Context, m, of metadata.Artifact) (*chunks.Map, Usage, error) {
	if most := metadata.MaxChunkMap(of.Length); m.Length > most {
		return nil, Usage{}, fmt.Errorf("%s: %d bytes are more than %d: %w", m.Target, m.Length, most, chunks.ErrFormat)
	}
	var data bytes.Buffer
	data.Grow(int(m.Length))
	usage, err := c.DownloadDelta(ctx, m, Delta{}, nil, &data, nil)
	if err != nil {
		return nil, usage, err
	}
	parsed, err := chunks.Parse(data.Bytes(), of.Length)
	if err != nil {
		err = fmt.Errorf("%s: %w", m.Target, err)
	}
	return parsed, usage, err
}

// DownloadDelta is Download that fetches only what it does not find in the seeds.
// The artifact is put together front to back: what is written is its beginning at
// any time, so that a run that was cut off can be gone on with.
//
// On any doubt (a server that does not give parts, a chunk that is not what the
// map says) it goes on as Download does from where it stands. From a server that
// works, no byte of the artifact is fetched twice.
//
// The hash of the whole artifact is the judge: nil says that it is right. If a
// VerificationError has ErrHave in its chain, start over without what was held,
// which may serve as a seed then; if it has ErrDelta, without the map.
func (c *Client) DownloadDelta(ctx context.Context, a metadata.Artifact, delta Delta, have io.Reader, w io.Writer, progress func(done int64)) (Usage, error) {
	d, err := c.newDownload(ctx, a)
	if err != nil {
		return Usage{}, err
	}
	d.w, d.progress = w, progress
	b := &build{download: d, delta: delta}
	err = b.run(ctx, have)
	var failed *VerificationError
	if errors.As(err, &failed) {
		if d.held > 0 && !errors.Is(err, ErrHave) {
			failed.Err = fmt.Errorf("%w (%w)", failed.Err, ErrHave)
		}
		if b.used {
			failed.Err = fmt.Errorf("%w (%w)", failed.Err, ErrDelta)
		}
	}
	return Usage{Fetched: d.fetched.Load(), Reused: b.reused, Requests: int(d.requests.Load())}, err
}

// build is an artifact that is put together from chunks.
type build struct {
	*download
	delta  Delta
	first  int    // the first chunk that is not held whole
	begun  []byte // what is held of that one
	spans  []chunks.Span
	finder *finder
	spare  int   // requests that the plan has left over, for chunks of seeds that went bad
	reused int64 // bytes copied from seeds
	used   bool  // bytes were written by the word of the map
}

func (b *build) run(ctx context.Context, have io.Reader) error {
	// The context of all requests: an answer of the first part can be gone on
	// with in the second.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		if b.ready != nil {
			b.ready.body.Close()
		}
	}()
	if have != nil {
		if err := b.resume(contextReader{ctx, have}, (*prefix)(b)); err != nil {
			return err
		}
	}
	if b.delta.Map != nil && len(b.delta.Seeds) > 0 && b.done < b.length {
		if err := b.assemble(ctx); err != nil {
			return err
		}
	}
	return b.download.run(ctx)
}

// prefix checks what is held, chunk by chunk.
type prefix build

func (p *prefix) Write(data []byte) (int, error) {
	n := len(data)
	for p.delta.Map != nil && len(data) > 0 && p.first < len(p.delta.Map.Chunks) {
		c := p.delta.Map.Chunks[p.first]
		take := min(int(c.Length)-len(p.begun), len(data))
		p.begun, data = append(p.begun, data[:take]...), data[take:]
		if len(p.begun) < int(c.Length) {
			break
		}
		if chunks.IDOf(p.begun) != c.ID {
			return 0, wrongPrefix(p.name)
		}
		p.first, p.begun = p.first+1, p.begun[:0]
	}
	return n, nil
}

func wrongPrefix(name string) error {
	return &VerificationError{
		Reason: ReasonBadHash, Advice: adviceTampered,
		Err: fmt.Errorf("%s: a chunk is not what the chunk map says (%w)", name, ErrHave),
	}
}

// slabSize is the memory for pieces on their way, and for searching before that:
// enough to fetch ahead while a long run is copied, little enough for a small node.
const slabSize = 2 << 20

// assemble puts together what can be. It returns nil also where it had to stop:
// the rest is fetched as without a map.
func (b *build) assemble(ctx context.Context) error {
	if b.slab == nil {
		b.slab = make([]byte, slabSize)
	}
	slab := b.slab
	b.finder = newFinder(b.delta.Map, b.first)
	searched := b.locate(ctx, slab)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.plan()
	fetch, requests := chunks.Cost(b.spans)
	b.log.Info("looked for old content", "file", b.name, "fetch", fetch, "requests", requests,
		"reuse", b.length-b.done-fetch, "searched", searched)
	if fetch >= b.length-b.done {
		return nil
	}
	b.spare = max(b.delta.MaxRequests-requests, 0)
	b.used = true
	err := b.transfer(ctx, slab)
	if b.ready != nil && !errors.Is(err, errWhole) {
		// It was asked for ahead, and ended with the transfer. Only the answer that
		// was the reason to end can be gone on with.
		b.ready.body.Close()
		b.ready = nil
	}
	var doubt *doubtError
	if errors.As(err, &doubt) {
		b.log.Warn("fetching all of the rest", "file", b.name, "at", b.done, "of", b.length, "reason", doubt)
		return nil
	}
	return err
}

// locate finds out where the wanted chunks lie, and returns how many seeds had to be
// searched for that.
func (b *build) locate(ctx context.Context, slab []byte) (searched int) {
	var unknown []int
	for i, s := range b.delta.Seeds {
		var m *chunks.Map
		if s.Map != nil && b.finder.missing > 0 {
			m = s.Map()
		}
		switch {
		case m == nil || m.Params != b.delta.Map.Params:
			unknown = append(unknown, i)
		case !b.finder.believe(m, i, s.Content, slab):
			b.log.Warn("the map of old content is wrong; searching the content", "file", b.name, "seed", s.Name)
			unknown = append(unknown, i)
		}
	}
	for _, i := range unknown {
		if b.finder.missing == 0 || ctx.Err() != nil {
			break
		}
		searched++
		s := b.delta.Seeds[i]
		if err := b.finder.search(ctx, i, s, slab); err != nil && ctx.Err() == nil {
			b.log.Warn("old content cannot be read to its end", "file", b.name, "seed", s.Name, "error", err)
		}
	}
	return searched
}

// plan decides what is copied and what is fetched of the rest.
func (b *build) plan() {
	have := func(i int) bool {
		if i < b.first {
			return true
		}
		_, _, ok := b.finder.at(i)
		return ok
	}
	for _, s := range b.delta.Map.Plan(have, b.delta.MaxRequests) {
		if s.To <= b.first {
			continue
		}
		if s.From < b.first || s.Start < b.done {
			s.From, s.Start = max(s.From, b.first), b.done
		}
		b.spans = append(b.spans, s)
	}
}

// doubtError is a reason to do without the map from here on.
type doubtError struct{ err error }

func (e *doubtError) Error() string { return e.err.Error() }
func (e *doubtError) Unwrap() error { return e.err }

// piece is a run of whole checked chunks on its way.
type piece struct {
	data   []byte
	pool   chan []byte // where its buffer is given back
	buffer []byte
	reused bool
}

// A piece's buffer holds at least one chunk. A quarter of the slab is for copying,
// the rest for fetching ahead: in smaller pieces, since many a part is small.
const (
	copySize    = 4 * chunks.MaxChunk
	copyPieces  = slabSize / 4 / copySize
	fetchSize   = 2 * chunks.MaxChunk
	fetchPieces = slabSize / 4 * 3 / fetchSize
)

// buffers returns a pool of n buffers of memory from slab, and the rest of slab.
func buffers(slab []byte, n, size int) (pool chan []byte, rest []byte) {
	pool = make(chan []byte, n)
	for range n {
		pool <- slab[:size:size]
		slab = slab[size:]
	}
	return pool, slab
}

// transfer runs the three stages: fetching, putting in order, writing. All have
// ended when it returns.
func (b *build) transfer(ctx context.Context, slab []byte) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var stages sync.WaitGroup
	defer func() {
		if !errors.Is(err, errWhole) { // that answer is gone on with
			cancel()
		}
		stages.Wait()
	}()
	copying, rest := buffers(slab, copyPieces, copySize)
	fetching, _ := buffers(rest, fetchPieces, fetchSize)
	// There is room for every piece: what limits a stage is its pool.
	f := &fetcher{build: b, pool: fetching, opened: make(chan opened), pieces: make(chan piece, fetchPieces)}
	o := &orderer{build: b, fetcher: f, pool: copying, pieces: make(chan piece, copyPieces+fetchPieces)}
	stages.Go(func() { f.openAll(ctx) })
	stages.Go(func() { f.run(ctx) })
	stages.Go(func() { o.run(ctx) })
	for p := range o.pieces {
		if err := b.put(p.data); err != nil {
			cancel()
			for range o.pieces {
				continue // until the stages have noticed
			}
			return err
		}
		if p.reused {
			b.reused += int64(len(p.data))
		}
		p.pool <- p.buffer
	}
	return o.err
}

// matches reports whether data is chunk i, or what is not held of it.
func (b *build) matches(i int, data []byte) bool {
	if i == b.first && len(b.begun) > 0 {
		data = append(bytes.Clone(b.begun), data...)
	}
	return chunks.IDOf(data) == b.delta.Map.Chunks[i].ID
}

// wanted is how many bytes of chunk i are not held.
func (b *build) wanted(i int) int {
	n := int(b.delta.Map.Chunks[i].Length)
	if i == b.first {
		n -= len(b.begun)
	}
	return n
}
