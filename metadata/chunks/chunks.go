// Package chunks divides a file into content-defined chunks and keeps the list
// of them in a map, so that a node can build a new file from what it already
// holds and fetch only the rest.
//
// A boundary is set where the content says so, not at fixed offsets. So what is
// inserted or taken out moves only the boundaries near it, and the chunks after it
// are found again. The rule is FastCDC with normalised chunking (Xia et al.,
// USENIX ATC 2016; IEEE TPDS 2020) over the gear hash (Xia et al., 2014).
// docs/repository.md writes it down for other implementations.
//
// It is an implementation of its own because the boundaries are part of a published
// format: a map that was signed years ago must mean the same on a node of today.
// The Go libraries that were looked at do not promise that: go-cdc-chunkers
// (PlakarKorp, kept up) changed the boundaries of its FastCDC under another name,
// registers its algorithms at init and brings blake3; fastcdc-go (jotfs) has stood
// still since 2020; chunker (restic, kept up) is not FastCDC, needs a random polynomial for
// each repository and is made for chunks around 1 MiB. All of them pull from a
// reader, where here the bytes are pushed in while they are copied and hashed. The
// whole rule is 60 lines.
//
// The package knows nothing of releases or of TUF. What a map says is never trusted:
// what is put together from it is checked against the target's own hash.
package chunks

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// Bounds of Params. MinChunk keeps a map below 2 % of its file; MaxChunk is what
// a length in a map can say, and bounds the memory of a Splitter.
const (
	MinChunk = 1 << 10
	MaxChunk = 64 << 10
)

// ErrFormat is wrapped by every error about a malformed map or about parameters
// that no map can have.
var ErrFormat = errors.New("malformed")

// ID names a chunk by its content: the first 16 bytes of its SHA-256.
type ID [16]byte

// IDOf returns the name of a chunk with the given content.
func IDOf(chunk []byte) ID {
	sum := sha256.Sum256(chunk)
	return ID(sum[:len(ID{})])
}

// Chunk is one piece of a file. Length is in bytes, at most MaxChunk.
type Chunk struct {
	ID     ID
	Length uint32
}

// Params are the sizes, in bytes, that decide where boundaries are set. They are
// part of a map: only a file that is split with the same ones has the same chunks.
// No chunk but the last is shorter than Min and none is longer than Max. Average
// is where boundaries become likely; the mean length comes out a little above it.
type Params struct {
	Min, Average, Max int
}

// DefaultParams returns the sizes that publishers use.
func DefaultParams() Params {
	return Params{Min: 2 << 10, Average: 8 << 10, Max: MaxChunk}
}

// Check returns an error that wraps ErrFormat if no map can have these sizes:
// MinChunk <= Min < Average < Max <= MaxChunk.
func (p Params) Check() error {
	if p.Min < MinChunk || p.Average <= p.Min || p.Max <= p.Average || p.Max > MaxChunk {
		return fmt.Errorf("chunk sizes %d, %d, %d (at least, average, at most) are not in order between %d and %d: %w",
			p.Min, p.Average, p.Max, MinChunk, MaxChunk, ErrFormat)
	}
	return nil
}

// Map is the list of a file's chunks from its first byte to its last.
type Map struct {
	Params Params
	Chunks []Chunk
}

// Length returns the length of the file in bytes.
func (m *Map) Length() int64 {
	var sum int64
	for i := range m.Chunks {
		sum += int64(m.Chunks[i].Length)
	}
	return sum
}
