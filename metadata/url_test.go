package metadata

import (
	"net/url"
	"testing"
)

func TestFileURL(t *testing.T) {
	for _, c := range []struct{ base, name, want string }{
		{"https://server", "metadata/1.root.json", "https://server/metadata/1.root.json"},
		{"https://server/os/", "metadata/1.root.json", "https://server/os/metadata/1.root.json"},
		{"https://server/a%20folder/x%2Fy", "targets/a", "https://server/a%20folder/x%2Fy/targets/a"},
		{"https://me:secret@server", "targets/a", "https://me:secret@server/targets/a"},
		{"https://server", "targets/1.0+b/a b%41?#.bin", "https://server/targets/1.0%2Bb/a%20b%2541%3F%23.bin"},
	} {
		base, err := url.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		u := FileURL(base, c.name)
		if got := u.String(); got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.name, c.base, got, c.want)
		}
		if base.String() != c.base {
			t.Errorf("the base is now %s", base)
		}
	}
}
