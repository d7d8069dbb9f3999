package chunks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"
)

// pseudoRandom returns n bytes that are the same for ever: the SHA-256 of 0, 1, 2
// and so on (uint64, big-endian), one after the other.
func pseudoRandom(n int) []byte {
	data := make([]byte, 0, n+sha256.Size)
	for i := uint64(0); len(data) < n; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		data = append(data, sum[:]...)
	}
	return data[:n]
}

func mapOf(t testing.TB, p Params, data []byte) *Map {
	t.Helper()
	b := NewBuilder(p)
	if _, err := b.Write(data); err != nil {
		t.Fatal(err)
	}
	m, err := b.Map()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func lengths(m *Map) []uint32 {
	var all []uint32
	for _, c := range m.Chunks {
		all = append(all, c.Length)
	}
	return all
}

// The boundaries and the encoding are a published format: these values never change.
// docs/repository.md names them, so that another implementation can be tried.
func TestGolden(t *testing.T) {
	data := pseudoRandom(1 << 20)
	for _, test := range []struct {
		name   string
		params Params
		data   []byte
		first  []uint32
		count  int
		sum    string // SHA-256 of the encoded map
	}{
		{"default", DefaultParams(), data, []uint32{9818, 6338, 4936, 2415, 11759, 4023}, 116,
			"569487259091e9c8dfe2e6eef162f127fdd5df814a58687e81b0ecfce5dfd13f"},
		{"larger", Params{Min: 4 << 10, Average: 16 << 10, Max: 64 << 10}, data, []uint32{21092, 17868, 22338, 16787, 16887, 25144}, 61,
			"f5f6070738a2f2922a6d9e2f07b7157eda974d6e9b4c95ea1a7b1cdae558db36"},
		{"average is no power of two", Params{Min: 1 << 10, Average: 5000, Max: 9999}, data, []uint32{5903, 6738, 3515, 4936, 1283, 1132}, 190,
			"c850eeff309caecd32a004792d10d2d71bfd80df306a475108458df947580a03"},
		{"zeros", DefaultParams(), make([]byte, 200_000), []uint32{65536, 65536, 65536, 3392}, 4,
			"c527f077d2711deff64d9d6ef8e1efc0047efa3daefac2b50f83c1e86c4bd629"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := mapOf(t, test.params, test.data)
			if got := lengths(m); len(got) != test.count || !slices.Equal(got[:min(len(got), len(test.first))], test.first) {
				t.Errorf("%d chunks, the first %v; want %d, %v", len(got), got[:min(len(got), 6)], test.count, test.first)
			}
			encoded, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(encoded)
			if got := hex.EncodeToString(sum[:]); got != test.sum {
				t.Errorf("the encoded map's SHA-256 is %s, want %s", got, test.sum)
			}
		})
	}
}

// reference is the rule as docs/repository.md states it, byte by byte.
func reference(p Params, data []byte) []uint32 {
	var gear [256]uint64
	for i := range gear {
		sum := sha256.Sum256([]byte{byte(i)})
		gear[i] = binary.BigEndian.Uint64(sum[:])
	}
	length := func(data []byte) int {
		for n := p.Min; n < min(p.Max, len(data)); n++ {
			var hash uint64
			for k := range 64 {
				hash += gear[data[n-1-k]] << k
			}
			below := ^uint64(0) / uint64(4*p.Average)
			if n >= p.Average {
				below = ^uint64(0) / uint64(p.Average/4)
			}
			if hash < below {
				return n
			}
		}
		return min(p.Max, len(data))
	}
	var all []uint32
	for len(data) > 0 {
		n := length(data)
		all = append(all, uint32(n))
		data = data[n:]
	}
	return all
}

func TestReference(t *testing.T) {
	data := slices.Concat(pseudoRandom(300_000), make([]byte, 150_000), bytes.Repeat([]byte("tufboot "), 9000), pseudoRandom(100_001))
	for _, p := range []Params{
		DefaultParams(),
		{Min: 1 << 10, Average: 1<<10 + 1, Max: 1<<10 + 2},
		{Min: 1 << 10, Average: 1500, Max: 2000},
		{Min: 4 << 10, Average: 16 << 10, Max: 64 << 10},
	} {
		if got, want := lengths(mapOf(t, p, data)), reference(p, data); !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", p, got, want)
		}
	}
}
