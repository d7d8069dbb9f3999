package client_test

import (
	"os"
	"path/filepath"
	"testing"

	"tufboot/metadata/client"
)

// names of the files that a fuzzer replaces, in a fixed order.
var fuzzed = []string{"2.root.json", "timestamp.json", "snapshot.json", "targets.json"}

// FuzzKeptFile puts any bytes in the place of a kept file: the next refresh
// succeeds, and ends where it would have ended.
func FuzzKeptFile(f *testing.F) {
	_, opts, kept := keptRepo(f)
	for i, name := range fuzzed {
		f.Add(byte(i), []byte(kept[name]))
	}
	f.Add(byte(3), []byte(`{"signatures":[],"signed":{"_type":"targets","targets":{"x":null}}}`))
	f.Add(byte(2), []byte(`{"signatures":[],"signed":{"_type":"snapshot","meta":{"targets.json":null}}}`))
	f.Add(byte(0), []byte(`{"signatures":[],"signed":{"_type":"root","roles":{"root":null}}}`))
	want, err := client.LocalTrust(opts)
	must(f, err)
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		name := fuzzed[int(which)%len(fuzzed)]
		opts := opts
		opts.Dir = memoryDir(t)
		restore(t, opts.Dir, kept)
		must(t, os.WriteFile(filepath.Join(opts.Dir, name), data, 0o600))
		c := open(t, opts)
		must(t, c.Refresh(t.Context()))
		got := c.Trust()
		if got.Root != want.Root || got.Timestamp != want.Timestamp || got.Snapshot != want.Snapshot || got.Targets != want.Targets {
			t.Errorf("ended at %+v, not at %+v", got, want)
		}
	})
}

// FuzzFetchedFile lets the server give any bytes for a metadata file: a refresh
// that succeeds found what was signed (more white space, say) and nothing else.
func FuzzFetchedFile(f *testing.F) {
	r, opts, _ := keptRepo(f)
	names := []string{"2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", "3.root.json"}
	for i, name := range names[:4] {
		f.Add(byte(i), r.read(name))
		f.Add(byte(i), append(r.read(name), '\n'))
	}
	f.Add(byte(4), r.read("2.root.json"))
	f.Add(byte(3), []byte(`{"signatures":[],"signed":{"_type":"targets","targets":{"x":null}}}`))
	f.Add(byte(1), []byte(`{"signatures":[],"signed":{"_type":"timestamp","meta":{"snapshot.json":null}}}`))
	want, err := client.LocalTrust(opts)
	must(f, err)
	files := snapshotOf(f, r)
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		server := memoryDir(t)
		restore(t, filepath.Join(server, "metadata"), files)
		must(t, os.WriteFile(filepath.Join(server, "metadata", names[int(which)%len(names)]), data, 0o600))
		opts := opts
		opts.Server, opts.Dir = "file://"+server, filepath.Join(server, "kept")
		c := open(t, opts)
		if err := c.Refresh(t.Context()); err != nil {
			return
		}
		got := c.Trust()
		if got.Root != want.Root || got.Timestamp != want.Timestamp || got.Snapshot != want.Snapshot || got.Targets != want.Targets {
			t.Errorf("accepted %+v, signed was %+v", got, want)
		}
	})
}
