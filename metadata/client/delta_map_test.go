package client_test

import (
	"bytes"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"tufboot/metadata/chunks"
	"tufboot/metadata/client"
)

// counted is a seed with a map that counts what is read of it.
type counted struct {
	io.ReaderAt
	read atomic.Int64
	maps int // how often the map was asked for
}

func (c *counted) ReadAt(p []byte, offset int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, offset)
	c.read.Add(int64(n))
	return n, err
}

func (c *counted) seed(content []byte, m *chunks.Map) client.Seed {
	c.ReaderAt = bytes.NewReader(content)
	return client.Seed{Name: "counted", Content: c, Size: int64(len(content)), Map: func() *chunks.Map {
		c.maps++
		return m
	}}
}

// probed is what is read of a seed at most before its map is believed: each chunk but
// few is much shorter than that.
const probed = 20 * 16 << 10

// Where a seed has its own map, what is copied is read of it, once, and no more.
func TestDeltaMappedSeedIsNotSearched(t *testing.T) {
	data := random(1, 4<<20)
	l := newLab(t, data)
	half := len(data) / 2
	for name, old := range map[string][]byte{
		"the same":  data,
		"ten edits": edited(data, 10, 100),
		"moved":     slices.Concat(data[half:], data[:half]),
		"a quarter": data[half : half+half/2],
		"nothing":   random(2, 4<<20),
	} {
		t.Run(name, func(t *testing.T) {
			for _, have := range [][]byte{nil, data[:12345], data[:len(data)-1]} {
				searched := l.want(t, l.delta(old), have)
				seed := new(counted)
				d := l.delta()
				d.Seeds = []client.Seed{seed.seed(old, mapOf(t, old))}
				usage := l.want(t, d, have)
				l.once(t, usage, have)
				if usage != searched {
					t.Errorf("usage %+v, with a search %+v", usage, searched)
				}
				if n := seed.read.Load(); n > usage.Reused+probed || usage.Reused == 0 && n > probed {
					t.Errorf("%d bytes were read for %d that were copied", n, usage.Reused)
				}
				if seed.maps > 1 {
					t.Errorf("the map was read %d times", seed.maps)
				}
			}
		})
	}
}

// Of a seed that adds nothing, nothing is copied, and nothing is read once all is found.
func TestDeltaSeedThatAddsNothing(t *testing.T) {
	data := random(1, 4<<20)
	l := newLab(t, data)
	edit := edited(data, 10, 100)
	for name, test := range map[string]struct {
		first, second []byte
		mapped        bool
		read          int64
	}{
		"all is there":            {data, data, false, 0},
		"all is there, by a map":  {data, data, true, 0},
		"the same is there":       {edit, edit, true, probed},
		"nothing is wanted of it": {edit, random(2, 4<<20), true, probed},
	} {
		t.Run(name, func(t *testing.T) {
			var first, second counted
			d := l.delta()
			d.Seeds = []client.Seed{second.seed(test.second, nil), first.seed(test.first, mapOf(t, test.first))}
			if test.mapped {
				slices.Reverse(d.Seeds) // of two with maps, the first is taken
				d.Seeds[1].Map = func() *chunks.Map { return mapOf(t, test.second) }
			}
			usage := l.want(t, d, nil)
			if n := second.read.Load(); n > test.read || usage.Reused < 3<<20 {
				t.Errorf("usage %+v, %d bytes of the second seed were read", usage, n)
			}
		})
	}
}

// A map that lies costs traffic, never more than all of the file, and never a wrong
// byte. What it says is looked at before it is believed: where it is the map of
// another file, the seed is searched as if there were none.
func TestDeltaMapThatLies(t *testing.T) {
	data := random(1, 4<<20)
	l := newLab(t, data)
	old := edited(data, 10, 100)
	searched := l.want(t, l.delta(old), nil)
	with := func(change func(m *chunks.Map)) *chunks.Map {
		m := mapOf(t, old)
		change(m)
		return m
	}
	all := int64(len(data))
	for name, test := range map[string]struct {
		content []byte
		m       *chunks.Map
		fetched int64 // at most
	}{
		"of another file": {old, mapOf(t, random(2, len(old))), searched.Fetched},
		"of the new file": {old[1000:], mapOf(t, data), searched.Fetched + 64<<10},
		"one chunk short": {old, with(func(m *chunks.Map) { m.Chunks = m.Chunks[1:] }), searched.Fetched},
		"backwards":       {old, with(func(m *chunks.Map) { slices.Reverse(m.Chunks) }), searched.Fetched},
		"too long":        {old[:len(old)/2], with(func(*chunks.Map) {}), all/2 + searched.Fetched},
		"lengths":         {old, with(func(m *chunks.Map) { m.Chunks[3].Length++ }), searched.Fetched},
		"other params": {old, with(func(m *chunks.Map) {
			m.Params.Min++
			clear(m.Chunks)
		}), searched.Fetched},
		"empty": {old, &chunks.Map{Params: chunks.DefaultParams()}, all},
		"every second chunk": {old, with(func(m *chunks.Map) {
			for i := 1; i < len(m.Chunks); i += 2 {
				m.Chunks[i].ID = m.Chunks[i-1].ID
			}
		}), all},
		"the file is another":          {random(2, len(old)), mapOf(t, old), all},
		"the file changed at a place":  {edited(old, 1, 100), mapOf(t, old), searched.Fetched + 64<<10},
		"the file changed at length":   {edited(old, 1, 200<<10), mapOf(t, old), searched.Fetched + 500<<10},
		"the file changed everywhere":  {edited(old, 4000, 8), mapOf(t, old), all},
		"the file changed here, there": {edited(old, 100, 8), mapOf(t, old), all},
	} {
		t.Run(name, func(t *testing.T) {
			for _, have := range [][]byte{nil, data[:12345]} {
				d := l.delta()
				d.Seeds = []client.Seed{new(counted).seed(test.content, test.m)}
				usage := l.want(t, d, have)
				l.once(t, usage, have)
				if usage.Fetched > test.fetched || usage.Requests > 100 {
					t.Errorf("usage %+v, want at most %d bytes", usage, test.fetched)
				}
			}
		})
	}
}

// A long stretch that is not what the map says is fetched in few requests, and little
// else is.
func TestDeltaMapWrongForAStretch(t *testing.T) {
	data := random(1, 4<<20)
	l := newLab(t, data)
	old := mapOf(t, data)
	var at int64
	for i, c := range old.Chunks { // between two chunks that are looked at
		if n := len(old.Chunks) / 16; i == 5*n+n/2+1 {
			break
		}
		at += int64(c.Length)
	}
	content := bytes.Clone(data)
	copy(content[at:], random(2, 200<<10))
	d := l.delta()
	d.Seeds = []client.Seed{new(counted).seed(content, old)}
	usage := l.want(t, d, nil)
	l.once(t, usage, nil)
	if usage.Requests > 6 || usage.Fetched > 500<<10 {
		t.Errorf("usage %+v", usage)
	}
}

// What a map says of a seed that cannot be read is not believed, and another seed
// serves.
func TestDeltaMappedSeedCannotBeRead(t *testing.T) {
	data := random(1, 4<<20)
	l := newLab(t, data)
	bad := new(counted)
	d := l.delta()
	d.Seeds = []client.Seed{bad.seed(data, l.m), new(counted).seed(data, l.m)}
	bad.ReaderAt = badFrom{bytes.NewReader(data), 0}
	if usage := l.want(t, d, nil); usage.Fetched > 0 {
		t.Errorf("usage %+v", usage)
	}
	if _, err := bad.ReadAt(make([]byte, 1), 0); err != iotest.ErrTimeout { //nolint:errorlint // as it is
		t.Error(err)
	}
}
