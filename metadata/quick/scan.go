package quick

import (
	"bytes"
	"encoding/hex"
	"strconv"
)

// scanner reads plain JSON: objects, lists, strings without escapes and whole
// numbers, where it is known what comes next. After anything else it is bad, for
// good, and what it returns means nothing.
type scanner struct {
	data []byte // what is left
	bad  bool
}

// next skips white space and returns the byte that follows; 0: none.
func (s *scanner) next() byte {
	for i, c := range s.data {
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			s.data = s.data[i:]
			return c
		}
	}
	s.data = nil
	return 0
}

// ended reports whether nothing but white space is left.
func (s *scanner) ended() bool {
	s.next()
	return len(s.data) == 0
}

// take takes a byte that must follow.
func (s *scanner) take(c byte) {
	if s.bad || s.next() != c {
		s.bad = true
		return
	}
	s.data = s.data[1:]
}

// items reads a list, or the fields of an object, between two brackets.
func (s *scanner) items(begin, end byte, item func()) {
	s.take(begin)
	if !s.bad && s.next() == end {
		s.take(end)
		return
	}
	for !s.bad {
		item()
		if s.next() == end {
			s.take(end)
			return
		}
		s.take(',')
	}
}

func (s *scanner) list(item func()) { s.items('[', ']', item) }

// object reads an object; field must read the value.
func (s *scanner) object(field func(name string)) {
	s.items('{', '}', func() {
		name := s.text()
		s.take(':')
		if !s.bad {
			field(name)
		}
	})
}

// raw returns a string as it stands there, without its quotes.
func (s *scanner) raw() []byte {
	s.take('"')
	n := bytes.IndexByte(s.data, '"')
	if s.bad || n < 0 {
		s.bad = true
		return nil
	}
	text := s.data[:n]
	for _, c := range text {
		if c < ' ' || c == '\\' {
			s.bad = true
		}
	}
	s.data = s.data[n+1:]
	return text
}

func (s *scanner) text() string { return string(s.raw()) }

func (s *scanner) hex() []byte {
	text := s.raw()
	out := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(out, text); err != nil {
		s.bad = true
	}
	return out
}

func (s *scanner) number() int64 {
	s.next()
	n := 0
	for n < len(s.data) && (s.data[n] == '-' || s.data[n] >= '0' && s.data[n] <= '9') {
		n++
	}
	text := string(s.data[:n])
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(value, 10) != text { // such as 007
		s.bad = true
	}
	s.data = s.data[n:]
	return value
}
