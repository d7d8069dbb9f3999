package repository

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tufboot/internal/atomicfile"
	"tufboot/metadata/storage"
)

// TestPublishCrash stops a publication at every write. A reader that has seen
// the old state must see the old or the new one, and after the next
// publication that one.
func TestPublishCrash(t *testing.T) {
	var r *Repository
	var keys *KeyDir
	var old *reader
	writes := eachCrash(t, func(t *testing.T, crash *crashStore) error {
		r, keys = newRepo(t)
		publish(t, r, keys, "1")
		old = newReader(t, r.Place())
		old.sees("1")
		crash.Folder = storage.NewFolder(r.Place())
		r.store = crash
		_, err := r.Publish(t.Context(), release(t, keys, "2", "2"))
		return err
	}, func(t *testing.T) {
		old.sees("1", "2")
		newReader(t, r.Place()).sees("1", "2")
		wantNotOlder(t, r)
		again := newRepository(storage.NewFolder(r.Place()), at(start))
		publish(t, again, keys, "2")
		old.sees("2")
		publish(t, again, keys, "3")
		old.sees("3")
		newReader(t, r.Place()).sees("3")
		wantClean(t, again)
	})
	// Kernel, initramfs, manifest, channel; the past state (and a removal
	// before it); channels, releases, snapshot, timestamp; which one is published.
	if writes != 11 {
		t.Errorf("a publication makes %d writes, want 11", writes)
	}
}

// TestRefreshCrash does the same for the signing of all roles.
func TestRefreshCrash(t *testing.T) {
	var r *Repository
	var keys *KeyDir
	var old *reader
	writes := eachCrash(t, func(t *testing.T, crash *crashStore) error {
		r, keys = newRepo(t)
		publish(t, r, keys, "1")
		old = newReader(t, r.Place())
		old.sees("1")
		crash.Folder = storage.NewFolder(r.Place())
		r.store = crash
		_, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true})
		return err
	}, func(t *testing.T) {
		old.sees("1")
		again := newRepository(storage.NewFolder(r.Place()), at(start))
		if _, err := again.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true}); err != nil {
			t.Fatal(err)
		}
		old.sees("1")
		newReader(t, r.Place()).sees("1")
		wantClean(t, again)
	})
	// The past state (and a removal before it); all six roles; which one is
	// published.
	if writes != 9 {
		t.Errorf("a refresh makes %d writes, want 9", writes)
	}
}

// TestCreateCrash does the same for the making of a repository, which nobody
// can have read before it is whole.
func TestCreateCrash(t *testing.T) {
	roles, keys, _ := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 2, RootThreshold: 2})
	var dir string
	eachCrash(t, func(t *testing.T, crash *crashStore) error {
		dir = t.TempDir()
		r := newRepository(storage.NewFolder(dir), at(start))
		crash.Folder = storage.NewFolder(dir)
		r.store = crash
		st, err := newState(r.store, CreateOptions{Roles: roles})
		if err != nil {
			return err
		}
		return r.create(t.Context(), st, keys)
	}, func(t *testing.T) {
		_, err := Create(t.Context(), storage.NewFolder(dir), CreateOptions{Options: at(start), Roles: roles, Keys: keys})
		if err != nil {
			wantReason(t, err, ReasonExists) // the crash came after the last write
		}
		newReader(t, dir).sees("")
	})
}

// TestLostTimestamp is a power cut that undoes the last rename, after a reader
// has seen the new timestamp.
func TestLostTimestamp(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	path := filepath.Join(r.Place(), filepath.FromSlash(timestampFile))
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, r, keys, "2")
	fast := newReader(t, r.Place())
	fast.sees("2")
	writeFile(t, path, string(old))
	// What is written after it is lost with it.
	if err := os.Remove(filepath.Join(r.Place(), publishedFile)); err != nil {
		t.Fatal(err)
	}
	newReader(t, r.Place()).sees("1")
	publish(t, r, keys, "3")
	fast.sees("3")
}

// TestNumbersAreNeverUsedTwice leaves the files of a crashed publication, which
// the next one must not write over: a cache may keep them for ever.
func TestNumbersAreNeverUsedTwice(t *testing.T) {
	r, keys := newRepo(t)
	crash := &crashStore{Folder: storage.NewFolder(r.Place()), at: 9, mode: crashBefore} // the timestamp
	r.store = crash
	if _, err := r.Publish(t.Context(), release(t, keys, "1", "1")); err == nil {
		t.Fatal("no crash")
	}
	r = newRepository(storage.NewFolder(r.Place()), at(start.Add(time.Hour)))
	left, err := readMetadata(t.Context(), r.store, versionedFile(Releases, 2))
	if err != nil {
		t.Fatal(err)
	}
	p := publish(t, r, keys, "1")
	if p.Versions.Targets != 1 || p.Versions.Snapshot != 3 || p.Versions.Timestamp != 3 {
		t.Errorf("got versions %+v, want 3 of snapshot and timestamp, 1 of the others", p.Versions)
	}
	now, err := readMetadata(t.Context(), r.store, versionedFile(Releases, 2))
	if err != nil || string(now) != string(left) {
		t.Errorf("2.releases.json was written again (%v)", err)
	}
}

// wantNotOlder checks that what a crash has left is not taken for an older copy.
func wantNotOlder(t *testing.T, r *Repository) {
	t.Helper()
	s, err := ReadStatus(t.Context(), r.plain(), StatusOptions{Options: at(start)})
	if err != nil || s.Older != nil || s.State != StateOK {
		t.Errorf("status %+v, error %v", s, err)
	}
}

// wantClean checks that no unfinished files are left.
func wantClean(t *testing.T, r *Repository) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(r.Place(), storage.WorkDir, atomicfile.TempPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
}
