package chunks

import (
	"cmp"
	"slices"
)

// MaxFetches is how many requests a node makes at most for what it lacks of a
// release. More would save bytes, and cost the server and a distant node more.
const MaxFetches = 48

// Span is a run of a file's chunks, from chunk From up to but not including chunk
// To, at the bytes from Start up to but not including End. It is fetched in one
// request, or it is all there.
type Span struct {
	Start, End int64
	From, To   int
	Fetch      bool
}

// Plan divides the file into spans to fetch and spans that are there, in turn, from
// its first byte to its last; have says of each chunk whether it is there. There are
// at most maxFetches spans to fetch (at least one, if anything is missing): where
// there would be more, those with the fewest bytes between them are made one, and
// what is between them is fetched too.
func (m *Map) Plan(have func(i int) bool, maxFetches int) []Span {
	spans := m.spans(have)
	var gaps []int // what is there between two spans to fetch
	for i := 1; i < len(spans)-1; i++ {
		if !spans[i].Fetch {
			gaps = append(gaps, i)
		}
	}
	close := len(gaps) + 1 - max(maxFetches, 1)
	if close <= 0 {
		return spans
	}
	slices.SortStableFunc(gaps, func(a, b int) int { return cmp.Compare(spans[a].size(), spans[b].size()) })
	for _, i := range gaps[:close] {
		spans[i].Fetch = true
	}
	merged := spans[:1]
	for _, s := range spans[1:] {
		if last := &merged[len(merged)-1]; last.Fetch == s.Fetch {
			last.End, last.To = s.End, s.To
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// spans returns the runs as they are.
func (m *Map) spans(have func(i int) bool) []Span {
	var spans []Span
	var at int64
	for i := range m.Chunks {
		end := at + int64(m.Chunks[i].Length)
		fetch := !have(i)
		if n := len(spans); n > 0 && spans[n-1].Fetch == fetch {
			spans[n-1].End, spans[n-1].To = end, i+1
		} else {
			spans = append(spans, Span{Start: at, End: end, From: i, To: i + 1, Fetch: fetch})
		}
		at = end
	}
	return spans
}

func (s Span) size() int64 { return s.End - s.Start }

// In returns, for Plan, which of the map's chunks an old file has, by its own map. A
// file that is divided by other Params has none of them, as far as its map tells.
func (m *Map) In(old *Map) (have func(i int) bool) {
	has := make(map[ID]bool, len(old.Chunks))
	for i := range old.Chunks {
		has[old.Chunks[i].ID] = true
	}
	return func(i int) bool { return has[m.Chunks[i].ID] }
}

// Cost returns how many bytes the spans to fetch have together and in how many
// requests they come.
func Cost(spans []Span) (bytes int64, requests int) {
	for _, s := range spans {
		if s.Fetch {
			bytes += s.size()
			requests++
		}
	}
	return bytes, requests
}
