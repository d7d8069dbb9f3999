package health

import (
	"strings"
	"unicode"
)

// maxQuoted is the most bytes of the other side's words that go into an error.
const maxQuoted = 2 << 10

// clean makes text that another program wrote fit for an error message on a
// terminal: bounded, valid UTF-8, and without control characters but newline
// and tab. Of a longer text the end is kept, where programs say what went wrong.
func clean(s string) string {
	if len(s) > maxQuoted {
		s = "[...] " + s[len(s)-maxQuoted:]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.TrimSpace(s)
}
