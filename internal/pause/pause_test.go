package pause_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"tufboot/internal/pause"
)

func TestEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pause.For(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := pause.For(t.Context(), 0); err != nil {
		t.Error(err)
	}
}
