package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"tufboot/internal/console"
)

// Nodes with the same schedule begin all over the time that they are given.
func TestSplaySpreads(t *testing.T) {
	const most, nodes, parts = time.Hour, 2000, 10
	var began [parts]int
	for range nodes {
		err := splay(t.Context(), most, slog.New(slog.DiscardHandler), func(_ context.Context, d time.Duration) error {
			began[d*parts/most]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range began {
		if n < nodes/parts/2 || n > nodes/parts*2 {
			t.Errorf("%d of %d begin in part %d of %d", n, nodes, i, parts)
		}
	}
}

func TestSplayOfNothing(t *testing.T) {
	never := func(context.Context, time.Duration) error { return errors.New("waited") }
	if err := splay(t.Context(), 0, nil, never); err != nil {
		t.Error(err)
	}
	if err := splay(t.Context(), -time.Second, nil, never); console.ExitCode(err) != console.ExitUsage {
		t.Errorf("a negative duration: %v", err)
	}
}
