package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestFlagsFirst(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"--help", "--help"},
		{"list --repo r", "list --repo r"},
		{"verify extra --repo r", "verify --repo r -- extra"},
		{"--json verify extra --repo=r --verbose other", "--json verify --repo=r --verbose -- extra other"},
		{"verify --root -x extra", "verify --root -x -- extra"},
		{"verify a -- --repo", "verify -- a --repo"},
		{"key generate a --out keys --name n", "key generate --out keys --name n -- a"},
		{"nonsense --repo r", "nonsense --repo r"},
		{"verify --unknown value", "verify --unknown -- value"},
		{"verify -", "verify -- -"},
		{"verify --repo", "verify --repo"},
	} {
		got := flagsFirst(newApp(io.Discard, io.Discard), append([]string{"repo-tool"}, strings.Fields(c.in)...))
		if want := append([]string{"repo-tool"}, strings.Fields(c.want)...); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", c.in, got[1:], want[1:])
		}
	}
}
