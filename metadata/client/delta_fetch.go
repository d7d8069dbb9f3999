package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"tufboot/metadata/chunks"
)

// fetcher is the stage that reads ahead what is missing.
type fetcher struct {
	*build
	pool   chan []byte
	opened chan opened
	pieces chan piece
	err    error // why pieces ended; read it after that
}

// opened is the first answer to the request for a span.
type opened struct {
	answer *content
	err    error
}

// openAll asks for each missing span while the one before is being read, so that
// the way to the server and back is not waited for each time. More than that one
// is never open ahead: two connections at most.
func (f *fetcher) openAll(ctx context.Context) {
	defer close(f.opened)
	for _, s := range f.spans {
		if !s.Fetch {
			continue
		}
		answer, err := f.open(ctx, s.Start, s.End)
		select {
		case f.opened <- opened{answer, err}:
		case <-ctx.Done():
			if answer != nil {
				answer.body.Close()
			}
			return
		}
		if err == nil && !answer.part || err != nil && !isTransient(err) {
			return // what was read so far is used up before this is dealt with
		}
	}
}

// run fetches the missing spans in order.
func (f *fetcher) run(ctx context.Context) {
	defer close(f.pieces)
	for _, s := range f.spans {
		if !s.Fetch {
			continue
		}
		next, ok := <-f.opened
		if !ok {
			f.err = context.Cause(ctx)
			return
		}
		send := func(p piece) error { return send(ctx, f.pieces, p) }
		if f.err = f.fetch(ctx, &part{build: f.build, next: &next, ahead: true}, s, f.pool, send); f.err != nil {
			return
		}
	}
}

func send(ctx context.Context, to chan<- piece, p piece) error {
	select {
	case to <- p:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func take(ctx context.Context, pool <-chan []byte) ([]byte, error) {
	select {
	case buffer := <-pool:
		return buffer, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fetch reads a span, checks each chunk and hands them on. What was good before
// an error is handed on too.
func (b *build) fetch(ctx context.Context, r *part, s chunks.Span, pool chan []byte, deliver func(piece) error) error {
	r.at, r.end, r.since = s.Start, s.End, s.Start
	defer r.close()
	for i := s.From; i < s.To; {
		buffer, err := take(ctx, pool)
		if err != nil {
			return err
		}
		n, before := 0, i
		for ; i < s.To && n+b.wanted(i) <= len(buffer) && err == nil; i++ {
			data := buffer[n:][:b.wanted(i)]
			if err = r.fill(ctx, data); err != nil {
				break
			}
			if !b.matches(i, data) {
				err = b.wrongChunk(i)
				break
			}
			n += len(data)
		}
		if i > before {
			err = errors.Join(deliver(piece{data: buffer[:n], pool: pool, buffer: buffer}), err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wrongChunk says that the server sent another chunk i than the map says.
func (b *build) wrongChunk(i int) error {
	if i == b.first && len(b.begun) > 0 {
		return wrongPrefix(b.name) // it may be the part that was held
	}
	return &doubtError{fmt.Errorf("the server's bytes are not chunk %d of the map", i)}
}

// part is a bounded part of the artifact that is read from the server, with
// another request from where it stopped if need be.
type part struct {
	*build
	at, end  int64
	next     *opened // the first answer, before it is used
	ahead    bool    // that came from openAll
	body     io.ReadCloser
	failures int
	since    int64 // where the last failure was
}

func (r *part) close() {
	if r.next != nil && r.next.answer != nil {
		r.next.answer.body.Close()
	}
	if r.body != nil {
		r.body.Close()
	}
}

// fill reads exactly len(p) bytes, which must be within the part.
func (r *part) fill(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		err := r.ask(ctx)
		if err == nil {
			var n int
			n, err = r.body.Read(p)
			p, r.at = p[n:], r.at+int64(n)
			if err != nil {
				r.body.Close()
				r.body = nil
			}
			if errors.Is(err, io.EOF) {
				err = errShort
			}
		}
		if err != nil && r.at < r.end {
			if err := r.again(ctx, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask sees to it that there is an answer to read from.
func (r *part) ask(ctx context.Context) error {
	if r.body != nil {
		return nil
	}
	next, first := r.next, r.next != nil
	if r.next = nil; !first {
		answer, err := r.open(ctx, r.at, r.end)
		next = &opened{answer, err}
	}
	if next.err != nil {
		return next.err
	}
	if !next.answer.part {
		return r.whole(next.answer, first)
	}
	r.body = next.answer.body
	return nil
}

var (
	errNoParts = errors.New("the server does not give parts of a file")
	// errWhole is the same, and the answer with the whole file is gone on with:
	// it would be a waste to ask once more.
	errWhole = fmt.Errorf("%w", errNoParts)
)

// whole deals with the answer of a server that does not give parts. Only when
// nothing else is on its way can it be gone on with: when it is what openAll
// ended with.
func (r *part) whole(answer *content, first bool) error {
	if !r.ahead || !first {
		answer.body.Close()
		return &doubtError{errNoParts}
	}
	r.ready = answer
	return &doubtError{errWhole}
}

// again waits before the next try, or returns err where that is of no use.
func (r *part) again(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.at-r.since >= enoughProgress {
		r.failures = 0
	}
	r.since = r.at
	r.failures++
	short := errors.Is(err, errShort)
	var doubt *doubtError
	switch {
	case errors.As(err, &doubt):
		return err
	case !isTransient(err) && !short || short && r.failures >= r.retry.tries:
		return &doubtError{err}
	case r.failures >= r.retry.tries:
		return err
	}
	r.log.Info("download interrupted; going on", "file", r.name, "at", r.at, "of", r.length, "error", err)
	return r.retry.wait(ctx, r.failures, err)
}
