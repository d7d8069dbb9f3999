package client_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tufboot/metadata"
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

// FuzzKeptContent puts any bytes in the place of a kept delegated role, channel file
// or manifest: the next resolution finds the release that is signed.
func FuzzKeptContent(f *testing.F) {
	r := delegated(f, nil)
	opts := options(f, r, fileURL(r))
	want := resolved(f, opts)
	kept := folder(f, opts.Dir)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(kept)), func(name string) bool {
		return !strings.HasPrefix(name, "role-") && filepath.Dir(name) != "content"
	})
	if len(names) < 3 {
		f.Fatalf("%q is not a role, a channel and a manifest", names)
	}
	for i, name := range names {
		f.Add(byte(i), []byte(kept[name]))
		f.Add(byte(i), []byte(kept[name]+" "))
		f.Add(byte(i), []byte(kept[names[0]]))
	}
	f.Add(byte(0), []byte(`{"signatures":[],"signed":{"_type":"targets","targets":{"x":null}}}`))
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		opts := opts
		opts.Dir = memoryDir(t)
		restore(t, opts.Dir, kept)
		must(t, os.WriteFile(filepath.Join(opts.Dir, names[int(which)%len(names)]), data, 0o600))
		if got := resolved(t, opts); got != want {
			t.Errorf("release %s, not %s", got, want)
		}
	})
}

// resolved is the identity of the release that a client finds.
func resolved(t testing.TB, opts client.Options) metadata.ID {
	t.Helper()
	c := open(t, opts)
	must(t, c.Refresh(t.Context()))
	r, err := c.Resolve(t.Context(), "stable", "amd64")
	must(t, err)
	return r.ID
}

// FuzzKeptClock puts any bytes in the place of the last refresh's time: the next one
// ends where it would have ended, or says that by that time all has expired.
func FuzzKeptClock(f *testing.F) {
	_, opts, kept := keptRepo(f)
	f.Add([]byte(kept["clock.json"]))
	for _, s := range []string{"", "{}", "null", `{"last_seen":null}`, `{"last_seen":"0000-01-01T00:00:00Z"}`, `{"last_seen":"9999-12-31T23:59:59+14:00"}`, `{"last_seen":1}`, `{"last_seen":"2026-01-01T00:00:00Z","last_seen":"x"}`} {
		f.Add([]byte(s))
	}
	want, err := client.LocalTrust(opts)
	must(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		opts := opts
		opts.Dir = memoryDir(t)
		restore(t, opts.Dir, kept)
		must(t, os.WriteFile(filepath.Join(opts.Dir, "clock.json"), data, 0o600))
		c := open(t, opts)
		err := c.Refresh(t.Context())
		var refused *client.VerificationError
		if errors.As(err, &refused) && refused.Reason == client.ReasonExpired {
			var record struct {
				LastSeen time.Time `json:"last_seen"`
			}
			if json.Unmarshal(data, &record) != nil || record.LastSeen.Before(want.Timestamp.Expires) {
				t.Errorf("expired by %q: %v", data, err)
			}
			return
		}
		must(t, err)
		got := c.Trust()
		if got.Root != want.Root || got.Timestamp != want.Timestamp || got.Snapshot != want.Snapshot || got.Targets != want.Targets {
			t.Errorf("ended at %+v, not at %+v", got, want)
		}
	})
}
