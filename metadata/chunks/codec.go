package chunks

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The encoding, all numbers big-endian: magic, version, Min, Average, Max and the
// number of chunks (uint32 each), then for each chunk its length less one (uint16)
// and its ID. Every field has a fixed width, so a map has one encoding only.
const (
	magic      = "tufchunk"
	version    = 1
	headerSize = len(magic) + 5*4
	recordSize = 2 + len(ID{})
)

// Encode returns the map's bytes. The error wraps ErrFormat if it is none that Parse
// would take.
func (m *Map) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	data := make([]byte, 0, headerSize+len(m.Chunks)*recordSize)
	data = append(data, magic...)
	for _, n := range []int{version, m.Params.Min, m.Params.Average, m.Params.Max, len(m.Chunks)} {
		data = binary.BigEndian.AppendUint32(data, uint32(n))
	}
	for i := range m.Chunks {
		c := &m.Chunks[i]
		data = binary.BigEndian.AppendUint16(data, uint16(c.Length-1))
		data = append(data, c.ID[:]...)
	}
	return data, nil
}

// Parse reads the map of a file of the given length in bytes. Errors wrap
// ErrFormat. It takes no more memory than about the map's own size, whatever the map says.
func Parse(data []byte, length int64) (*Map, error) {
	if len(data) < headerSize || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("chunk map: no header: %w", ErrFormat)
	}
	var header [5]uint32
	for i := range header {
		header[i] = binary.BigEndian.Uint32(data[len(magic)+4*i:])
	}
	if header[0] != version {
		return nil, fmt.Errorf("chunk map: version %d, not %d: %w", header[0], version, ErrFormat)
	}
	records := data[headerSize:]
	if uint64(len(records)) != uint64(header[4])*uint64(recordSize) {
		return nil, fmt.Errorf("chunk map: %d bytes are not %d chunks: %w", len(records), header[4], ErrFormat)
	}
	m := &Map{
		Params: Params{Min: int(header[1]), Average: int(header[2]), Max: int(header[3])},
		Chunks: make([]Chunk, header[4]),
	}
	for i := range m.Chunks {
		record := records[i*recordSize:]
		m.Chunks[i].Length = uint32(binary.BigEndian.Uint16(record)) + 1
		copy(m.Chunks[i].ID[:], record[2:])
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if sum := m.Length(); sum != length {
		return nil, fmt.Errorf("chunk map: the chunks are %d bytes, the file is %d: %w", sum, length, ErrFormat)
	}
	return m, nil
}

// check holds the map to what a Splitter can have made.
func (m *Map) check() error {
	if err := m.Params.Check(); err != nil {
		return fmt.Errorf("chunk map: %w", err)
	}
	if uint64(len(m.Chunks)) > math.MaxUint32 {
		return fmt.Errorf("chunk map: %d chunks: %w", len(m.Chunks), ErrFormat)
	}
	for i := range m.Chunks {
		least := m.Params.Min
		if i == len(m.Chunks)-1 {
			least = 1
		}
		if n := int64(m.Chunks[i].Length); n < int64(least) || n > int64(m.Params.Max) {
			return fmt.Errorf("chunk map: chunk %d is %d bytes: %w", i, n, ErrFormat)
		}
	}
	return nil
}
