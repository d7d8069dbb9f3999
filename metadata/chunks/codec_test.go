package chunks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"
)

func encoded(t testing.TB, m *Map) []byte {
	t.Helper()
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParse(t *testing.T) {
	for _, n := range []int{0, 1, 5000, 300_000} {
		m := mapOf(t, DefaultParams(), pseudoRandom(n))
		got, err := Parse(encoded(t, m), int64(n))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Chunks) == 0 {
			m.Chunks = []Chunk{}
		}
		if !reflect.DeepEqual(got, m) || got.Length() != int64(n) {
			t.Errorf("%d bytes: %v, want %v", n, got, m)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const length = 100_000
	good := encoded(t, mapOf(t, DefaultParams(), pseudoRandom(length)))
	put := func(at int, n uint32) []byte {
		data := bytes.Clone(good)
		binary.BigEndian.PutUint32(data[at:], n)
		return data
	}
	short := bytes.Clone(good)
	binary.BigEndian.PutUint16(short[headerSize:], uint16(DefaultParams().Min-2))
	for name, test := range map[string]struct {
		data   []byte
		length int64
	}{
		"empty":                   {nil, length},
		"header cut":              {good[:headerSize-1], length},
		"record cut":              {good[:len(good)-1], length},
		"chunk cut":               {good[:len(good)-recordSize], length},
		"byte after it":           {append(bytes.Clone(good), 0), length},
		"magic":                   {put(0, 0), length},
		"newer":                   {put(8, 2), length},
		"least size too small":    {put(12, MinChunk-1), length},
		"average below the least": {put(16, 1024), length},
		"largest size too large":  {put(20, MaxChunk+1), length},
		"size that overflows":     {put(20, math.MaxUint32), length},
		"largest size too small":  {put(20, 8<<10+1), length},
		"count too large":         {put(24, math.MaxUint32), length},
		"count of none":           {put(24, 0), length},
		"short chunk":             {short, length},
		"other length":            {good, length + 1},
		"negative length":         {good, -1},
	} {
		if m, err := Parse(test.data, test.length); !errors.Is(err, ErrFormat) || m != nil {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	p := DefaultParams()
	for name, m := range map[string]*Map{
		"no sizes":    {},
		"no length":   {p, []Chunk{{Length: 0}}},
		"long":        {p, []Chunk{{Length: MaxChunk + 1}}},
		"short":       {p, []Chunk{{Length: 100}, {Length: 5000}}},
		"over 32 bit": {p, []Chunk{{Length: math.MaxUint32}}},
	} {
		if data, err := m.Encode(); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %x, %v", name, data, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, n := range []int{0, 1, 5000, 60_000} {
		f.Add(encoded(f, mapOf(f, DefaultParams(), pseudoRandom(n))), int64(n))
	}
	f.Fuzz(func(t *testing.T, data []byte, length int64) {
		m, err := Parse(data, length)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("the error does not wrap ErrFormat: %v", err)
			}
			return
		}
		if m.Length() != length {
			t.Errorf("%d bytes, want %d", m.Length(), length)
		}
		if again := encoded(t, m); !bytes.Equal(again, data) {
			t.Errorf("%x is read, and written as %x", data, again)
		}
	})
}
