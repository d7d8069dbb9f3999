package health

import (
	"strings"
	"testing"
)

// A check that prints for ever must not fill the memory of the node.
func TestTailIsBounded(t *testing.T) {
	var out tail
	for _, size := range []int{1, 100, maxQuoted, maxQuoted + 1, 1 << 20} {
		for range 100 {
			if n, err := out.Write([]byte(strings.Repeat("x", size))); n != size || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			if len(out.buf) > maxQuoted+1 || cap(out.buf) > 4*maxQuoted {
				t.Fatalf("after writes of %d: %d bytes kept, room for %d", size, len(out.buf), cap(out.buf))
			}
		}
	}
	if _, err := out.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.HasSuffix(s, "xthe end") || !strings.HasPrefix(s, "[...] ") {
		t.Errorf("got %.20q ... %q", s, s[len(s)-20:])
	}
}
