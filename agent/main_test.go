package main

import (
	"math"
	"runtime/debug"
	"testing"
)

// TestLimitMemory keeps an operator's own limit.
func TestLimitMemory(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	for _, c := range []struct {
		env  string
		want int64
	}{{"32MiB", math.MaxInt64}, {"", memoryLimit}} {
		t.Setenv("GOMEMLIMIT", c.env)
		limitMemory()
		if got := debug.SetMemoryLimit(-1); got != c.want {
			t.Errorf("with GOMEMLIMIT=%q the limit is %d, want %d", c.env, got, c.want)
		}
	}
}
