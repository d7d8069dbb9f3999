package client

import (
	"context"
	"io"
	"sync"
	"time"
)

// limiter holds what several bodies bring together to a rate: a token bucket
// that is filled for the time of one burst.
type limiter struct {
	rate int64 // bytes per second
	mu   sync.Mutex
	free time.Time // when all that was taken so far is paid for
}

// burst is what may come at once.
const burst = 100 * time.Millisecond

// newLimiter returns a limiter, or nil for a rate of 0, which is no limit.
func newLimiter(rate int64) *limiter {
	if rate <= 0 {
		return nil
	}
	return &limiter{rate: rate}
}

// body returns a body that is read no faster than the limit. The server is
// held back by the connection's own flow control.
func (l *limiter) body(ctx context.Context, body io.ReadCloser) io.ReadCloser {
	if l == nil {
		return body
	}
	return &limited{ReadCloser: body, ctx: ctx, limiter: l}
}

// take notes n bytes and returns how long to wait for them.
func (l *limiter) take(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if earliest := now.Add(-burst); l.free.Before(earliest) {
		l.free = earliest // what was not used before is not saved up
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	return l.free.Sub(now)
}

type limited struct {
	io.ReadCloser
	ctx     context.Context
	limiter *limiter
}

// Read implements io.Reader.
func (r *limited) Read(p []byte) (int, error) {
	most := max(r.limiter.rate*int64(burst)/int64(time.Second), 1)
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), most)])
	wait := time.NewTimer(r.limiter.take(n))
	defer wait.Stop()
	select {
	case <-wait.C:
		return n, err
	case <-r.ctx.Done():
		return n, context.Cause(r.ctx)
	}
}
