package chunks

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
)

// window is the number of bytes that decide about a boundary: each is shifted out
// of the 64-bit hash by the 64 after it.
const window = 64

// normalisation is by how much a boundary is made less likely below the average
// length and more likely above it (two bits, the level that the paper recommends).
const normalisation = 4

// Splitter divides what is written to it into chunks and hands each to its
// function. The boundaries depend on the bytes alone, not on how they are cut into
// writes. It holds at most one chunk.
type Splitter struct {
	params Params
	emit   func(chunk []byte) error
	gear   [256]uint64
	// A boundary is where the hash is below these: before the average length, and
	// from there on.
	early, late uint64

	held   []byte // the open chunk's bytes from earlier writes
	length int    // the open chunk's length so far
	hash   uint64
	err    error
}

// NewSplitter returns a Splitter that calls emit for each chunk, in order. The
// slice is valid only during the call. An error of emit stops the Splitter:
// Write and Close return it. So do they an error about p (see Params.Check).
func NewSplitter(p Params, emit func(chunk []byte) error) *Splitter {
	s := &Splitter{params: p, emit: emit, err: p.Check()}
	if s.err != nil {
		return s
	}
	s.held = make([]byte, 0, p.Max)
	for i := range s.gear {
		sum := sha256.Sum256([]byte{byte(i)})
		s.gear[i] = binary.BigEndian.Uint64(sum[:8])
	}
	s.early = math.MaxUint64 / (uint64(p.Average) * normalisation)
	s.late = math.MaxUint64 / (uint64(p.Average) / normalisation)
	return s
}

// Write takes the next bytes of the file.
func (s *Splitter) Write(data []byte) (int, error) {
	rest := data
	for len(rest) > 0 && s.err == nil {
		n, boundary := s.scan(rest)
		chunk := rest[:n]
		rest = rest[n:]
		if len(s.held) > 0 || !boundary {
			s.held = append(s.held, chunk...)
			chunk = s.held
		}
		if boundary {
			s.close(chunk)
		}
	}
	if s.err != nil {
		return 0, s.err
	}
	return len(data), nil
}

// Close hands out what is left as the last chunk. The Splitter can then be used for
// another file.
func (s *Splitter) Close() error {
	if s.err == nil && len(s.held) > 0 {
		s.close(s.held)
	}
	return s.err
}

func (s *Splitter) close(chunk []byte) {
	s.err = s.emit(chunk)
	s.held, s.length, s.hash = s.held[:0], 0, 0
}

// scan goes on with the open chunk and returns how many bytes of data belong to
// it and whether it ends there. The hash starts a window before the least length,
// so that a boundary depends on the same number of bytes wherever it is.
func (s *Splitter) scan(data []byte) (n int, boundary bool) {
	p := s.params
	if skip := p.Min - window - s.length; skip > 0 {
		n = min(skip, len(data))
		s.length += n
	}
	// Up to each of these lengths a boundary is where the hash is below the limit.
	phases := [...]struct {
		length int
		below  uint64
	}{{p.Min - 1, 0}, {p.Average - 1, s.early}, {p.Max, s.late}}
	for _, phase := range phases {
		part := data[n:]
		part = part[:min(len(part), max(phase.length-s.length, 0))]
		if len(part) == 0 {
			continue
		}
		var took int
		took, s.hash, boundary = roll(&s.gear, s.hash, part, phase.below)
		n += took
		s.length += took
		if boundary {
			return n, true
		}
	}
	return n, s.length == p.Max
}

// roll takes data, at least one byte, into the hash up to the first byte after which it is below the
// limit, and returns how many bytes that were. It is one loop without calls: the
// agent is built without inlining. Two bytes a turn halve the chain of additions
// that wait for each other.
func roll(gear *[256]uint64, hash uint64, data []byte, below uint64) (n int, sum uint64, found bool) {
	for ; len(data)-n >= 2; n += 2 {
		first, second := gear[data[n]], gear[data[n+1]]
		if half := hash<<1 + first; half < below {
			return n + 1, half, true
		}
		hash = hash<<2 + (first<<1 + second)
		if hash < below {
			return n + 2, hash, true
		}
	}
	if n < len(data) {
		hash = hash<<1 + gear[data[n]]
		n++
	}
	return n, hash, hash < below
}
