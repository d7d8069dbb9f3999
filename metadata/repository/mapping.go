package repository

import (
	"io"

	"tufboot/metadata/chunks"
)

// mapping makes the chunk map of what is read through it, beside the reader: that
// one hashes and writes the bytes meanwhile, and neither waits for the other for longer
// than a few blocks.
type mapping struct {
	io.ReadCloser
	full, empty chan []byte
	made        chan *chunks.Map
	done        func(*chunks.Map)
}

// newMapping returns a reader of r that gives the map of what was read to done when
// it is closed.
func newMapping(r io.ReadCloser, done func(*chunks.Map)) *mapping {
	const blocks, blockSize = 4, 256 << 10
	m := &mapping{
		ReadCloser: r,
		full:       make(chan []byte, blocks),
		empty:      make(chan []byte, blocks),
		made:       make(chan *chunks.Map, 1),
		done:       done,
	}
	for range blocks {
		m.empty <- make([]byte, blockSize)
	}
	go m.build()
	return m
}

func (m *mapping) build() {
	b := chunks.NewBuilder(chunks.DefaultParams())
	for block := range m.full {
		_, _ = b.Write(block) // fails only where the parameters are wrong, which Map says
		m.empty <- block[:cap(block)]
	}
	built, _ := b.Map()
	m.made <- built
}

func (m *mapping) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		block := <-m.empty
		k := copy(block, rest)
		m.full <- block[:k]
		rest = rest[k:]
	}
	return n, err
}

// Close ends the map. It may be called once.
func (m *mapping) Close() error {
	close(m.full)
	m.done(<-m.made)
	return m.ReadCloser.Close()
}
