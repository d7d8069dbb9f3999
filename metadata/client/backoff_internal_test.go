package client

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// paused returns how long a try's pause is.
func paused(b backoff, n int, cause error) (d time.Duration) {
	b.sleep = func(_ context.Context, how time.Duration) error { d = how; return nil }
	_ = b.wait(context.Background(), n, cause)
	return d
}

// TestBackoffIsBounded holds for every try, whatever the server asks for: pauses
// grow, never beyond the limit and its jitter, and are never the same for a fleet.
func TestBackoffIsBounded(t *testing.T) {
	b := defaultBackoff()
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		n := 1 + random.IntN(100)
		if random.IntN(50) == 0 {
			n = math.MaxInt
		}
		cause := error(&NetworkError{after: int(random.Uint64()>>random.IntN(64)) - random.IntN(2)})
		if random.IntN(3) == 0 {
			cause = errors.New("another failure")
		}
		most := b.limit
		if n < 10 {
			most = min(b.base<<(n-1), b.limit)
		}
		least, asked := most/2, time.Duration(0)
		var e *NetworkError
		if errors.As(cause, &e) && e.after > 0 {
			asked = b.limit
			if e.after < 30 {
				asked = time.Duration(e.after) * time.Second
			}
		}
		got := paused(b, n, cause)
		if got < max(least, asked) || got > max(most, asked*3/2) {
			t.Fatalf("try %d, %+v: pause %v, want %v to %v", n, cause, got, max(least, asked), max(most, asked*3/2))
		}
	}
}

// TestBackoffSpreads looks at a fleet: its pauses lie all over what they may be,
// also when the server has told all of it the same.
func TestBackoffSpreads(t *testing.T) {
	b := defaultBackoff()
	for name, test := range map[string]struct {
		cause       error
		least, most time.Duration
	}{
		"by itself":     {errors.New("failed"), 500 * time.Millisecond, time.Second},
		"as told":       {&NetworkError{after: 20}, 20 * time.Second, 30 * time.Second},
		"told too much": {&NetworkError{after: 86400}, 30 * time.Second, 45 * time.Second},
	} {
		const nodes, parts = 10_000, 10
		var in [parts]int
		for range nodes {
			d := paused(b, 2, test.cause)
			in[min(int((d-test.least)*parts/(test.most-test.least)), parts-1)]++
		}
		for i, n := range in {
			if n < nodes/parts/2 {
				t.Errorf("%s: only %d of %d nodes in part %d of %v to %v", name, n, nodes, i, test.least, test.most)
			}
		}
	}
}
