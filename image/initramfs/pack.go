package initramfs

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"

	"golang.org/x/sync/errgroup"
)

// packer packs the entries of one initramfs.
type packer struct {
	opts     Options
	in       io.ReaderAt
	contents *contents
	unpacked io.ReaderAt // what the entries hold
}

// job is a segment on its way through the workers to the output.
type job struct {
	data io.Reader
	size int64
	out  bytes.Buffer
	done chan struct{} // closed when out is complete
}

// pack writes everything to out.
func (p *packer) pack(ctx context.Context, out io.Writer) (*Result, error) {
	codec, err := codecOf(p.opts.Packing)
	if err != nil {
		return nil, err
	}
	segments := plan(p.contents.entries, p.opts.Segment)
	r := &Result{Packing: p.opts.Packing, Level: p.opts.Level, Segment: p.opts.Segment, Early: p.contents.early,
		Entries: len(p.contents.entries), Segments: len(segments), Contents: digest(p.contents.entries)}
	for _, s := range segments {
		r.Unpacked += s.size
	}
	counted := &written{w: out}
	if _, err := io.Copy(counted, io.NewSectionReader(p.in, 0, p.contents.early)); err != nil {
		return nil, err
	}
	if _, err := counted.Write(codec.begin); err != nil {
		return nil, err
	}
	crc := crc32.NewIEEE()
	g, ctx := errgroup.WithContext(ctx)
	if codec.end != nil { // the sum is over all of it in order, so it has a reader of its own
		g.Go(func() error {
			_, err := io.Copy(crc, io.MultiReader(archived(p.contents.entries, p.unpacked), bytes.NewReader(ending())))
			return err
		})
	}
	p.compress(ctx, g, codec, segments, counted)
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if codec.end != nil {
		if _, err := counted.Write(codec.end(r.Unpacked+int64(len(ending())), crc.Sum32())); err != nil {
			return nil, err
		}
	}
	r.Out = counted.n
	return r, nil
}

// compress starts what compresses the segments and the archive's end: one
// goroutine that hands them out, workers, and one that writes in order. There
// are no more segments on the way than twice the workers.
func (p *packer) compress(ctx context.Context, g *errgroup.Group, c codec, segments []segment, out io.Writer) {
	queue := make(chan *job)
	order := make(chan *job, 2*p.opts.Workers)
	g.Go(func() error {
		defer close(order)
		defer close(queue)
		for i := range len(segments) + 1 {
			j := p.job(segments, i)
			for _, to := range []chan *job{order, queue} {
				select {
				case to <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range p.opts.Workers {
		g.Go(func() error {
			work, err := c.worker(p.opts.Level)
			if err != nil {
				return err
			}
			for j := range queue {
				if err := work(&j.out, j.data, j.size); err != nil {
					return fmt.Errorf("compress: %w", err)
				}
				close(j.done)
			}
			return nil
		})
	}
	g.Go(func() error { return p.write(ctx, order, out) })
}

// job returns the segment with that index, or the end of the archive after the last.
func (p *packer) job(segments []segment, i int) *job {
	if i == len(segments) {
		return &job{data: bytes.NewReader(ending()), size: int64(len(ending())), done: make(chan struct{})}
	}
	s := segments[i]
	return &job{data: archived(p.contents.entries[s.from:s.to], p.unpacked), size: s.size, done: make(chan struct{})}
}

func (p *packer) write(ctx context.Context, order <-chan *job, out io.Writer) error {
	var total, done int64
	for i := range p.contents.entries {
		total += p.contents.entries[i].packed()
	}
	progress := p.opts.step("compressing", total)
	for j := range order {
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := out.Write(j.out.Bytes()); err != nil {
			return err
		}
		if done += j.size; progress != nil {
			progress(done)
		}
	}
	return nil
}

// written counts what is written.
type written struct {
	w io.Writer
	n int64
}

func (c *written) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
