package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"tufboot/internal/pause"
)

// backoff is how transient failures are tried again: after base, twice base,
// ... up to limit, each time shortened by up to half at random, so that a fleet
// that lost its server together does not come back together. Where the server said
// how long to wait, it is that, up to limit, lengthened by up to half at random: the
// whole fleet was told the same.
type backoff struct {
	tries       int // in all, the first one included
	base, limit time.Duration
	sleep       func(context.Context, time.Duration) error
}

func defaultBackoff() backoff {
	return backoff{tries: 5, base: 500 * time.Millisecond, limit: 30 * time.Second, sleep: pause.For}
}

// wait pauses before try number n+1 and returns the context's error if it ends
// first. cause is the failure of try n; the server may have said how long to wait.
func (b backoff) wait(ctx context.Context, n int, cause error) error {
	d := b.limit
	if shift := n - 1; shift < 16 {
		d = min(b.base<<shift, b.limit)
	}
	d -= time.Duration(rand.Int64N(int64(d)/2 + 1)) //nolint:gosec // jitter needs no secrecy
	var n2 *NetworkError
	if errors.As(cause, &n2) && n2.after > 0 {
		asked := b.limit
		if n2.after < int(b.limit/time.Second) {
			asked = time.Duration(n2.after) * time.Second
		}
		d = max(d, asked+time.Duration(rand.Int64N(int64(asked)/2+1))) //nolint:gosec // as above
	}
	return b.sleep(ctx, d)
}
