package chunks

import (
	"fmt"
	"strings"
	"testing"
)

// planned writes spans as "+0-3 -3-4": fetched from chunk 0 up to 3, there from 3 up to 4.
func planned(spans []Span) string {
	var parts []string
	for _, s := range spans {
		sign := "-"
		if s.Fetch {
			sign = "+"
		}
		parts = append(parts, fmt.Sprintf("%s%d-%d", sign, s.From, s.To))
	}
	return strings.Join(parts, " ")
}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		have    string // x: there
		lengths []uint32
		most    int
		want    string
		bytes   int64
	}{
		{"", nil, 5, "", 0},
		{"xxx", []uint32{1, 2, 3}, 5, "-0-3", 0},
		{"...", []uint32{1, 2, 3}, 5, "+0-3", 6},
		{"...", []uint32{1, 2, 3}, 0, "+0-3", 6},
		{".x.x.", []uint32{1, 2, 3, 4, 5}, 3, "+0-1 -1-2 +2-3 -3-4 +4-5", 9},
		{".x.x.", []uint32{1, 2, 3, 4, 5}, 2, "+0-3 -3-4 +4-5", 11},
		{".x.x.", []uint32{1, 4, 3, 2, 5}, 2, "+0-1 -1-2 +2-5", 11},
		{".x.x.", []uint32{1, 2, 3, 2, 5}, 2, "+0-3 -3-4 +4-5", 11}, // the first of two equal gaps
		{".x.x.", []uint32{1, 2, 3, 4, 5}, 1, "+0-5", 15},
		{"x.x.x", []uint32{9, 2, 1, 4, 9}, 1, "-0-1 +1-4 -4-5", 7}, // the ends are no gaps
		{".xx.", []uint32{1, 2, 3, 4}, 0, "+0-4", 10},
	} {
		m := &Map{}
		for _, n := range test.lengths {
			m.Chunks = append(m.Chunks, Chunk{Length: n})
		}
		spans := m.Plan(func(i int) bool { return test.have[i] == 'x' }, test.most)
		if got := planned(spans); got != test.want {
			t.Errorf("%q in %d: %s, want %s", test.have, test.most, got, test.want)
		}
		if got, requests := Cost(spans); got != test.bytes || requests > max(test.most, 1) {
			t.Errorf("%q in %d: %d bytes in %d requests, want %d", test.have, test.most, got, requests, test.bytes)
		}
		var at int64
		for _, s := range spans {
			if s.Start != at || s.End <= s.Start {
				t.Errorf("%q in %d: span %+v does not begin at %d", test.have, test.most, s, at)
			}
			at = s.End
		}
		if at != m.Length() {
			t.Errorf("%q in %d: the spans end at %d of %d", test.have, test.most, at, m.Length())
		}
	}
}
