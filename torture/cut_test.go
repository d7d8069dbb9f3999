package main

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// TestSpread: as many draws as were asked for, each where a write can be lost.
func TestSpread(t *testing.T) {
	r := &recording{story: story{history: history{armed: 3, committed: none, durable: none, gaveUp: 5}}}
	for range 3 {
		r.requests = append(r.requests, request{size: 512}, request{flush: true}, request{size: 512, fua: true})
	}
	w := &workshop{share: share{draws: 100}, seed: 7}
	drawn, total := w.spread(r), 0
	for n, open := range r.unflushed() {
		total += drawn[n]
		if drawn[n] > 0 && !open {
			t.Errorf("%d draws behind %d requests, where nothing is unflushed", drawn[n], n)
		}
	}
	if total != 100 || !reflect.DeepEqual(drawn, w.spread(r)) {
		t.Errorf("%d draws: %v", total, drawn)
	}
}

// TestDrawPieces: a draw has sectors of the unflushed writes and of no others, and
// each write is kept, lost and torn in some draw.
func TestDrawPieces(t *testing.T) {
	requests := []request{{size: 4096}, {size: 512}, {size: 1 << 20}, {size: 4096}}
	whole, none, some := false, false, false
	for n := range uint64(500) {
		var sectors int64
		for _, p := range drawPieces(rand.New(rand.NewPCG(1, n)), requests, []int{1, 2}) {
			if p.request != 1 && p.request != 2 || p.from < 0 || p.count < 0 || (p.from+p.count)*sectorSize > requests[p.request].size {
				t.Fatalf("draw %d has %+v", n, p)
			}
			if p.request == 2 {
				sectors += p.count
			}
		}
		whole, none, some = whole || sectors == 2048, none || sectors == 0, some || sectors > 0 && sectors < 2048
	}
	if !whole || !none || !some {
		t.Errorf("whole %v, lost %v, torn %v", whole, none, some)
	}
}
