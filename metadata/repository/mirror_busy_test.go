package repository

import (
	"fmt"
	"testing"
	"time"

	"tufboot/metadata"
)

// TestMirrorOvertaken publishes at the source, at each of its files that the
// mirror reads, and prunes what was before. The mirror shows the old state or
// the new one.
func TestMirrorOvertaken(t *testing.T) {
	t.Parallel()
	r, first, firstKeys := memRepo(t)
	memPublish(t, r, firstKeys, "1")
	for _, kind := range []string{"publish", "publish and prune", "change keys", "change keys, old ones lost"} {
		t.Run(kind, func(t *testing.T) {
			for at := 0; ; at++ {
				source, keys := first.clone(), firstKeys
				r := newRepository(source, Options{Now: func() time.Time { return source.now }})
				reads, done := 0, false
				source.read = func(string) {
					if reads++; reads != at+1 || done {
						return
					}
					done = true
					source.read = nil
					switch kind {
					case "change keys":
						keys = rotate(t, r, keys, true, Timestamp, Snapshot, Targets)
					case "change keys, old ones lost":
						keys = rotate(t, r, keys, false, Timestamp, Snapshot, Targets)
					}
					memPublish(t, r, keys, "2")
					if kind == "publish and prune" {
						source.now = source.now.Add(time.Hour)
						if _, err := r.Prune(t.Context(), PruneOptions{Keys: keys}); err != nil {
							t.Error(err)
						}
					}
				}
				to := newMemStore()
				memMirror(t, source, to, mirrorAt(start.Add(time.Hour)))
				newNode(t, to, start.Add(time.Hour)).sees("1", "2")
				if !done {
					return
				}
			}
		})
	}
}

// TestMirrorLarge counts what an incremental run reads of a repository with
// 10,000 releases.
func TestMirrorLarge(t *testing.T) {
	t.Parallel()
	releases := 10_000
	if testing.Short() {
		releases = 1_000
	}
	r, source, keys := memRepo(t)
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for i := range releases {
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			name := metadata.ReleaseTarget(fmt.Sprint(i), "amd64", file)
			content := []byte(name)
			sum := string(metadata.IdentityOf(content))
			source.put(targetFile(name, sum), content)
			if _, err := e.set(t.Context(), name, sum, int64(len(content))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := e.Commit(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	to := newMemStore()
	opts := mirrorAt(start)
	opts.Parallel = 0
	if result := memMirror(t, source, to, opts); result.Targets != 3*releases {
		t.Fatalf("got %+v", result)
	}
	memPublish(t, r, keys, "one-more")
	source.forget()
	to.forget()
	if result := memMirror(t, source, to, mirrorAt(start)); result.Targets != 4 {
		t.Errorf("got %+v", result)
	}
	newNode(t, to, start).sees("one-more")
	// Roots, timestamp, snapshot, targets, channels, releases, three bins, four
	// targets (twice, as a bucket does).
	const most = 25
	count := func(s *memStore) (n int) {
		for _, opens := range s.opens {
			n += opens
		}
		return n
	}
	if n := count(source); n > most {
		t.Errorf("the source was read %d times, more than %d: %v", n, most, source.opens)
	}
	if to.stats > most {
		t.Errorf("the destination was looked at %d times, more than %d", to.stats, most)
	}
	source.forget()
	memMirror(t, source, to, mirrorAt(start))
	if n := count(source); n > 8 {
		t.Errorf("with nothing new the source was read %d times: %v", n, source.opens)
	}
}
