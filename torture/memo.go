package main

import "sync"

// memo remembers what a program found out about a disk, together with the sectors
// that it read. A program that reads the same bytes gives the same answer, so on
// a disk on which those sectors are the same the answer is known without running
// it: most writes of an update go where neither GRUB nor the agent's start-up
// looks. What a program reads is seen from below, by the disk itself.
type memo[R any] struct {
	mu    sync.Mutex
	known map[string][]*fact[R]
	runs  int
}

// fact is one answer.
type fact[R any] struct {
	spans  []span
	answer R
}

// span is neighbouring sectors and a sum of their content.
type span struct {
	first, count int
	sum          uint64
}

// ask returns what run finds on the disk; the disk is left as it was. key names
// the program and everything else that its answer depends on. What the program
// wrote is handed to run's caller in the answer, if run puts it there (written).
func (m *memo[R]) ask(d *disk, key string, run func() (R, error), written func(*R, []change)) (R, error) {
	m.mu.Lock()
	facts := m.known[key]
	m.mu.Unlock()
	for i := len(facts) - 1; i >= 0; i-- {
		if facts[i].holds(d) {
			return facts[i].answer, nil
		}
	}
	var answer R
	mark := d.mark()
	read, changes, err := d.trace(func() (err error) {
		answer, err = run()
		return err
	})
	if undone := d.undo(mark); err == nil {
		err = undone
	}
	if err != nil {
		return answer, err
	}
	if written != nil {
		written(&answer, changes)
	}
	f := &fact[R]{spans: d.spans(read), answer: answer}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[string][]*fact[R]{}
	}
	// A new slice: others may be walking through the old one.
	m.known[key] = append(m.known[key][:len(m.known[key]):len(m.known[key])], f)
	m.runs++
	return answer, nil
}

// ran returns how often a program had to be run.
func (m *memo[R]) ran() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runs
}

func (f *fact[R]) holds(d *disk) bool {
	for _, s := range f.spans {
		if d.sumOf(s.first, s.count) != s.sum {
			return false
		}
	}
	return true
}

// spans returns the sectors that were read as spans, with their sums.
func (d *disk) spans(read []bool) []span {
	var all []span
	for i := 0; i < len(read); i++ {
		if !read[i] {
			continue
		}
		first := i
		for i < len(read) && read[i] {
			i++
		}
		all = append(all, span{first, i - first, d.sumOf(first, i-first)})
	}
	return all
}

// sumOf returns a sum of neighbouring sectors (FNV-1a over their sums).
func (d *disk) sumOf(first, count int) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range d.sums[first : first+count] {
		h = (h ^ s) * 1099511628211
	}
	return h
}
