package client_test

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzMemory puts any bytes in the place of what is remembered of the last check:
// the next one finds the release that is signed, and no other.
func FuzzMemory(f *testing.F) {
	node := follow(f)
	kept := folder(f, node.opts.Dir)
	node.opts.Server = fileURL(node.repo)
	f.Add([]byte(kept["latest.json"]))
	for _, s := range []string{"", "{}", "null", `{"root":"","snapshot":"","expires":"9999-01-01T00:00:00Z"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		opts := node.opts
		opts.Dir = memoryDir(t)
		restore(t, opts.Dir, kept)
		must(t, os.WriteFile(filepath.Join(opts.Dir, "latest.json"), data, 0o600))
		got, err := open(t, opts).Latest(t.Context(), "stable", "amd64", "v1", node.have)
		must(t, err)
		if got.ID != node.have {
			t.Errorf("release %s", got.ID)
		}
	})
}
