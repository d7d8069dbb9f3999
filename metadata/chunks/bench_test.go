package chunks

import (
	"crypto/sha256"
	"testing"
)

// BenchmarkHash is SHA-256 alone, what all else is to be compared with.
func BenchmarkHash(b *testing.B) {
	data := pseudoRandom(1 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		sha256.Sum256(data)
	}
}

func BenchmarkSplit(b *testing.B) {
	data := pseudoRandom(8 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		s := NewSplitter(DefaultParams(), func([]byte) error { return nil })
		_, _ = s.Write(data)
		_ = s.Close()
	}
}

func BenchmarkBuild(b *testing.B) {
	data := pseudoRandom(8 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		mapOf(b, DefaultParams(), data)
	}
}

func BenchmarkIDOf(b *testing.B) {
	data := pseudoRandom(8 << 10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		IDOf(data)
	}
}

// The map of a file of 100 MB.
func BenchmarkParse(b *testing.B) {
	m := &Map{Params: DefaultParams(), Chunks: make([]Chunk, 12_000)}
	for i := range m.Chunks {
		m.Chunks[i].Length = 9000
	}
	data, err := m.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(data, m.Length()); err != nil {
			b.Fatal(err)
		}
	}
}

// A plan for a file of 100 MB of which every tenth chunk is missing, in as many
// requests as an update may make.
func BenchmarkPlan(b *testing.B) {
	m := &Map{Params: DefaultParams(), Chunks: make([]Chunk, 12_000)}
	for i := range m.Chunks {
		m.Chunks[i].Length = uint32(4000 + i%9000)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Plan(func(i int) bool { return i%10 != 0 }, MaxFetches)
	}
}
