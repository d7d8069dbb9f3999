package main

import (
	"fmt"
	"math/rand/v2"
)

// cut is one power cut: the machine has sent so many requests, and of those that
// no flush has covered only some pieces are on the disk.
type cut struct {
	story    *story
	requests int // sent before the power went
	draw     int // 0: all of them are on the disk; else which draw of pieces
	pieces   []piece
}

// String returns what -case takes.
func (c cut) String() string { return fmt.Sprintf("%s:%d:%d", c.story.name, c.requests, c.draw) }

// piece is neighbouring sectors of one write that reached the disk.
type piece struct {
	request     int
	from, count int64 // sectors, from the write's first
}

// whole returns all of a write.
func whole(request int, r request) piece { return piece{request, 0, r.size / sectorSize} }

// fate is what becomes of a write that no flush has covered.
type fate int

const (
	kept fate = iota
	lost
	torn
)

// drawPieces draws which pieces of the unflushed writes (numbers of requests)
// reach the disk, and in which order. Half of the draws do one thing to one write,
// so that every such case is met soon; the others do anything to each.
func drawPieces(rng *rand.Rand, requests []request, unflushed []int) []piece {
	fates := make([]fate, len(unflushed))
	one := rng.IntN(len(unflushed))
	switch rng.IntN(6) {
	case 0:
		fates[one] = lost
	case 1:
		fates[one] = torn
	case 2: // only this one
		for i := range fates {
			fates[i] = lost
		}
		fates[one] = fate(2 * rng.IntN(2))
	default:
		for i := range fates {
			fates[i] = fate(rng.IntN(3))
		}
	}
	order := rng.Perm(len(unflushed))
	var pieces []piece
	for _, i := range order {
		n := unflushed[i]
		switch fates[i] {
		case kept:
			pieces = append(pieces, whole(n, requests[n]))
		case torn:
			pieces = append(pieces, tear(rng, n, requests[n])...)
		}
	}
	return pieces
}

// tear returns some of a write's sectors: a beginning, an end, or any. A disk
// writes a sector of 512 bytes whole or not at all.
func tear(rng *rand.Rand, n int, r request) []piece {
	all := r.size / sectorSize
	at := rng.Int64N(all + 1)
	switch rng.IntN(3) {
	case 0:
		return []piece{{n, 0, at}}
	case 1:
		return []piece{{n, at, all - at}}
	}
	var pieces []piece
	for s := range all {
		if rng.IntN(2) == 0 {
			pieces = append(pieces, piece{n, s, 1})
		}
	}
	return pieces
}
