package client

import (
	"context"
	"errors"
	"io"

	"tufboot/metadata/chunks"
)

// orderer is the stage that puts copied and fetched pieces in order.
type orderer struct {
	*build
	fetcher *fetcher
	pool    chan []byte
	pieces  chan piece
	err     error // why pieces ended; read it after that
}

func (o *orderer) run(ctx context.Context) {
	defer close(o.pieces)
	for _, s := range o.spans {
		if s.Fetch {
			o.err = o.forward(ctx, s)
		} else {
			o.err = o.copySpan(ctx, s)
		}
		if o.err != nil {
			return
		}
	}
}

func (o *orderer) deliver(ctx context.Context) func(piece) error {
	return func(p piece) error { return send(ctx, o.pieces, p) }
}

// forward passes on what was fetched of a span.
func (o *orderer) forward(ctx context.Context, s chunks.Span) error {
	for left := s.End - s.Start; left > 0; {
		p, ok := <-o.fetcher.pieces
		if !ok {
			return o.fetcher.err
		}
		left -= int64(len(p.data))
		if err := o.deliver(ctx)(p); err != nil {
			return err
		}
	}
	return nil
}

// copySpan copies a span from the seeds. What has changed there since it was
// found is fetched: as long as there are requests to spare a chunk, and twice as many
// each time that what follows has changed too; then all that is left of the span, so
// that nothing is fetched twice.
func (o *orderer) copySpan(ctx context.Context, s chunks.Span) error {
	for run := 1; s.From < s.To; {
		copied, err := o.copyRun(ctx, s)
		if err != nil {
			return err
		}
		for range copied {
			s.Start += int64(o.wanted(s.From))
			s.From++
		}
		if copied > 0 {
			run = 1
			continue
		}
		bad := s
		if o.spare > 0 {
			o.spare--
			bad.To, bad.End = s.From, s.Start
			for range min(run, s.To-s.From) {
				bad.End += int64(o.wanted(bad.To))
				bad.To++
			}
			run *= 2
		}
		o.log.Warn("old content is not what was found there; fetching it", "file", o.name, "chunk", s.From, "chunks", bad.To-bad.From)
		if err := o.repair(ctx, bad); err != nil {
			return err
		}
		s.From, s.Start = bad.To, bad.End
	}
	return nil
}

// repair fetches a span that should have been copied.
func (o *orderer) repair(ctx context.Context, s chunks.Span) error {
	return o.fetch(ctx, &part{build: o.build}, s, o.pool, o.deliver(ctx))
}

// copyRun copies chunks from the beginning of the span that lie one behind the
// other in one seed, and returns how many were good.
func (o *orderer) copyRun(ctx context.Context, s chunks.Span) (copied int, err error) {
	buffer, err := take(ctx, o.pool)
	if err != nil {
		return 0, err
	}
	data, n := o.readRun(s, buffer), 0
	for i := s.From; i < s.To && n < len(data); i++ {
		want := o.wanted(i)
		if n+want > len(data) || !o.matches(i, data[n:n+want]) {
			break
		}
		n += want
		copied++
	}
	if copied == 0 {
		o.pool <- buffer
		return 0, nil
	}
	return copied, send(ctx, o.pieces, piece{data: data[:n], pool: o.pool, buffer: buffer, reused: true})
}

// readRun reads chunks from the beginning of the span that lie one behind the
// other in one seed, as many as fit into the buffer.
func (o *orderer) readRun(s chunks.Span, buffer []byte) []byte {
	seed, offset, ok := o.finder.at(s.From)
	if !ok {
		return nil
	}
	begin := offset
	if s.From == o.first {
		begin += int64(len(o.begun))
	}
	n := o.wanted(s.From)
	for i := s.From + 1; i < s.To; i++ {
		offset += int64(o.delta.Map.Chunks[i-1].Length)
		inSeed, at, ok := o.finder.at(i)
		if !ok || inSeed != seed || at != offset || n+o.wanted(i) > len(buffer) {
			break
		}
		n += o.wanted(i)
	}
	got, err := o.delta.Seeds[seed].Content.ReadAt(buffer[:n], begin)
	if got < n && err != nil && !errors.Is(err, io.EOF) {
		o.log.Warn("old content cannot be read", "seed", o.delta.Seeds[seed].Name, "error", err)
	}
	return buffer[:got]
}
