package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The clock of these tests is their own: they take no time.
func TestLimiter(t *testing.T) {
	const size, rate = 5_000_000, 1_000_000
	tests := map[string]struct {
		bodies int
		idle   time.Duration // before the first byte
	}{
		"one":            {1, 0},
		"two together":   {2, 0},
		"after a pause":  {1, time.Hour},
		"several at all": {7, time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(rate)
				l.take(1)
				time.Sleep(tt.idle)
				start := time.Now()
				var all sync.WaitGroup
				for range tt.bodies {
					all.Go(func() {
						n, err := io.Copy(io.Discard, l.body(t.Context(), io.NopCloser(bytes.NewReader(make([]byte, size)))))
						if n != size || err != nil {
							t.Errorf("%d bytes, %v", n, err)
						}
					})
				}
				all.Wait()
				want := time.Duration(tt.bodies) * size / rate * time.Second
				if took := time.Since(start); took < want-burst-time.Millisecond || took > want+burst {
					t.Errorf("%d bytes at %d bytes/s took %v, want %v", tt.bodies*size, rate, took, want)
				}
			})
		})
	}
}

func TestLimiterEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := io.Copy(io.Discard, newLimiter(10).body(ctx, io.NopCloser(bytes.NewReader(make([]byte, 1000)))))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestNoLimit(t *testing.T) {
	body := io.NopCloser(bytes.NewReader(nil))
	if newLimiter(0).body(t.Context(), body) != body {
		t.Error("a body without a limit is not the body itself")
	}
}
