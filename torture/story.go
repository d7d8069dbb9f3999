package main

import (
	"bytes"
	"fmt"
	"os"

	"tufboot/grub"
)

// story is one recorded life of a node: an update and what came of it.
type story struct {
	name      string // such as good-bios
	first     string // version of the release that is in both slots when it begins
	candidate string // version of the release that the node is updated to
	healthy   bool   // the candidate passes its health gate
	log       string // file with the log of its disk

	file     *os.File
	requests []request
	history  history
}

// history is when what happened, as numbers of requests; none where it did not.
type history struct {
	armed     int // the write that put the candidate on trial
	committed int // the write that marked it good
	durable   int // the flush behind that
	gaveUp    int // the write by which GRUB gave it up
}

const none = 1 << 30

// open reads the log and finds the turning points in it: writes to the sector of
// the environment block, which begins at envAt.
func (s *story) open(envAt int64) (err error) {
	if s.file, err = os.Open(s.log); err != nil {
		return err
	}
	st, err := s.file.Stat()
	if err != nil {
		return err
	}
	if s.requests, err = parseLog(s.file, st.Size()); err != nil {
		return fmt.Errorf("%s: %w", s.log, err)
	}
	s.history = history{none, none, none, none}
	h := &s.history
	for i, r := range s.requests {
		if r.flush && h.committed < i && h.durable == none {
			h.durable = i
		}
		if r.offset > envAt || r.end() < envAt+sectorSize {
			continue
		}
		data, err := s.data(r)
		if err != nil {
			return err
		}
		if state, err := decodeState(data[envAt-r.offset:][:sectorSize]); err == nil {
			h.note(i, state) // else it turns nothing; the judge looks at what it is
		}
	}
	if s.healthy == (h.durable == none) || s.healthy == (h.gaveUp != none) || h.armed == none {
		return fmt.Errorf("%s does not tell the story %s: %+v", s.log, s.name, *h)
	}
	return nil
}

func (h *history) note(i int, s grub.State) {
	first := func(at *int, is bool) {
		if is && *at == none {
			*at = i
		}
	}
	first(&h.armed, s.Trial())
	first(&h.committed, h.armed != none && s.Success && s.Active == grub.SlotB)
	first(&h.gaveUp, h.armed != none && s.Success && s.Active == grub.SlotA)
}

func (s *story) data(r request) ([]byte, error) {
	b := make([]byte, r.size)
	_, err := s.file.ReadAt(b, r.data)
	return b, err
}

// decodeState reads the boot state out of the first sector of a block.
func decodeState(sector []byte) (grub.State, error) {
	full := bytes.Repeat([]byte{'#'}, grub.BlockSize)
	copy(full, sector)
	b, err := grub.ParseBlock(full)
	if err != nil {
		return grub.State{}, err
	}
	return grub.Decode(b)
}

// proven are the releases that may boot uncounted after a power cut behind so
// many requests: those that have been marked good, if perhaps not for good.
func (s *story) proven(requests int) []string {
	if s.history.committed < requests {
		return []string{s.first, s.candidate}
	}
	return []string{s.first}
}

// rests are the releases one of which the machine must come to rest in.
func (s *story) rests(requests int) []string {
	if s.history.durable < requests {
		return []string{s.candidate}
	}
	return s.proven(requests)
}
