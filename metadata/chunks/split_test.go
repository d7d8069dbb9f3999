package chunks

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

func split(t testing.TB, p Params, r io.Reader) [][]byte {
	t.Helper()
	var all [][]byte
	s := NewSplitter(p, func(chunk []byte) error {
		all = append(all, bytes.Clone(chunk))
		return nil
	})
	// Hidden, so that io.Copy writes what each Read returns.
	if _, err := io.Copy(s, struct{ io.Reader }{r}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func checkSplit(t testing.TB, p Params, data []byte, all [][]byte) {
	t.Helper()
	if !bytes.Equal(bytes.Join(all, nil), data) {
		t.Error("the chunks together are not the input")
	}
	for i, c := range all {
		if len(c) == 0 || len(c) > p.Max || len(c) < p.Min && i < len(all)-1 {
			t.Errorf("chunk %d of %d is %d bytes", i, len(all), len(c))
		}
	}
}

func TestSplitterWriteSizes(t *testing.T) {
	data := slices.Concat(pseudoRandom(200_000), make([]byte, 100_000), pseudoRandom(50_000))
	p := Params{Min: 1 << 10, Average: 4 << 10, Max: 16 << 10}
	want := split(t, p, bytes.NewReader(data))
	checkSplit(t, p, data, want)
	for name, r := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(bytes.NewReader(data)),
		"halves":   iotest.HalfReader(bytes.NewReader(data)),
	} {
		if got := split(t, p, r); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%s: other chunks", name)
		}
	}
}

// What is put in changes the chunks around it, and no others.
func TestSplitterFindsChunksAgain(t *testing.T) {
	data := pseudoRandom(1 << 20)
	old := mapOf(t, DefaultParams(), data)
	known := make(map[ID]bool)
	for _, c := range old.Chunks {
		known[c.ID] = true
	}
	changed := mapOf(t, DefaultParams(), slices.Concat(data[:500_000], []byte("put in"), data[500_000:]))
	missing := 0
	for _, c := range changed.Chunks {
		if !known[c.ID] {
			missing++
		}
	}
	if missing == 0 || missing > 3 {
		t.Errorf("%d of %d chunks are missing", missing, len(changed.Chunks))
	}
}

func TestSplitterStops(t *testing.T) {
	broken := errors.New("broken")
	calls := 0
	s := NewSplitter(DefaultParams(), func([]byte) error { calls++; return broken })
	if _, err := s.Write(pseudoRandom(1 << 20)); !errors.Is(err, broken) {
		t.Errorf("Write: %v", err)
	}
	if err := s.Close(); !errors.Is(err, broken) || calls != 1 {
		t.Errorf("Close: %v after %d calls", err, calls)
	}
}

func TestSplitterRefusesParams(t *testing.T) {
	for _, p := range []Params{{}, {Min: 1023, Average: 4096, Max: 8192}, {Min: 4096, Average: 4096, Max: 8192},
		{Min: 2048, Average: 8192, Max: 8192}, {Min: 2048, Average: 8192, Max: MaxChunk + 1}, {Min: -1, Average: -1, Max: -1}} {
		s := NewSplitter(p, nil)
		if _, err := s.Write([]byte("x")); !errors.Is(err, ErrFormat) {
			t.Errorf("%+v: Write: %v", p, err)
		}
		if _, err := NewBuilder(p).Map(); !errors.Is(err, ErrFormat) {
			t.Errorf("%+v: Map: %v", p, err)
		}
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add([]byte("short"), uint16(1), uint16(0), uint16(0))
	f.Add(pseudoRandom(30_000), uint16(700), uint16(10), uint16(2000))
	f.Add(make([]byte, 30_000), uint16(4096), uint16(1024), uint16(4096))
	f.Fuzz(func(t *testing.T, data []byte, size, average, most uint16) {
		// Enough of it that there are boundaries.
		data = bytes.Repeat(data, 1+20_000/(len(data)+1))
		p := Params{Min: MinChunk, Average: MinChunk + 1 + int(average)%8192}
		p.Max = p.Average + 1 + int(most)%8192
		all := split(t, p, bytes.NewReader(data))
		checkSplit(t, p, data, all)
		var got [][]byte
		s := NewSplitter(p, func(chunk []byte) error { got = append(got, bytes.Clone(chunk)); return nil })
		for part := range slices.Chunk(data, int(size)+1) {
			if _, err := s.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil || !slices.EqualFunc(got, all, bytes.Equal) {
			t.Errorf("writes of %d bytes make other chunks (%v)", int(size)+1, err)
		}
	})
}
