package repository

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tufboot/metadata"
)

// TestGrow publishes until releases is split, and once more by hand to the next
// level. A client that is there from the first day finds everything.
func TestGrow(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	old := newReader(t, r.Place())
	old.sees("1")
	for _, c := range []struct {
		releases, bins int
	}{{100, 16}, {1100, 256}} {
		fill(t, r, keys, c.releases)
		version := fmt.Sprint(c.releases)
		publish(t, r, keys, version)
		old.sees(version)
		newReader(t, r.Place()).sees(version)
		if got := binsOf(t, r); got != c.bins {
			t.Errorf("%d bins with %d releases, want %d", got, c.releases, c.bins)
		}
		list, err := r.List(t.Context())
		if err != nil || len(list) < c.releases {
			t.Fatalf("%d releases listed: %v", len(list), err)
		}
	}
	// Every bin is signed again when it is due, and found without reading it.
	r.now = func() time.Time { return start.Add(310 * day) }
	got, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys})
	if err != nil || len(got.Signed) < 256 {
		t.Fatalf("signed %d, %v", len(got.Signed), err)
	}
	old.now = start.Add(310 * day)
	old.sees("1100")
}

// TestGrowCrash cuts the split at every write.
func TestGrowCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("dozens of writes, each cut in three ways; run without -short")
	}
	var r *Repository
	var keys *KeyDir
	var old *reader
	eachCrash(t, func(t *testing.T, crash *crashStore) error {
		r, keys = newRepo(t)
		publish(t, r, keys, "1")
		fill(t, r, keys, 63)
		old = newReader(t, r.Place())
		old.sees("1")
		crash.inside(r)
		_, err := r.Publish(t.Context(), release(t, keys, "2", "2"))
		return err
	}, func(t *testing.T) {
		old.sees("1", "2")
		again := newRepository(r.plain(), at(start))
		publish(t, again, keys, "2")
		old.sees("2")
		if binsOf(t, again) != 16 {
			t.Error("not split")
		}
	})
}

// fill adds releases whose files are not there, in one change.
func fill(t testing.TB, r *Repository, keys Signers, n int) {
	t.Helper()
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for i := range n {
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			name := metadata.ReleaseTarget(fmt.Sprint("filler-", i), "amd64", file)
			if _, err := e.set(t.Context(), name, strings.Repeat("ab", 32), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := e.Commit(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
}

func binsOf(t *testing.T, r *Repository) int {
	t.Helper()
	s, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range s.Roles {
		if role.Role == Releases {
			return role.Bins
		}
	}
	return 0
}

// TestManyBins is a repository whose signers say that there are four billion hash
// bins: nothing may list their names.
func TestManyBins(t *testing.T) {
	for _, bits := range []int{15, 24, 32} {
		r := newForeign(t)
		r.bins(bits)
		r.write()
		for name, err := range map[string]error{"verify": r.verify(t.Context()), "status": r.status(t.Context()), "publish": r.publish(t.Context())} {
			if answer(err) != bad {
				t.Errorf("%d bits: %s: %v", bits, name, err)
			}
		}
	}
}
