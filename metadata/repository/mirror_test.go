package repository

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tufboot/metadata/storage"
	"tufboot/metadata/storage/storagetest"
)

// memMirror mirrors at the time of the source.
func memMirror(t *testing.T, from storage.Reader, to storage.Store, opts MirrorOptions) *Mirrored {
	t.Helper()
	result, err := Mirror(t.Context(), from, to, opts)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// mirrorAt are options for a time. One file at a time: hooks of a memStore are
// then called in order.
func mirrorAt(at time.Time) MirrorOptions {
	return MirrorOptions{Options: Options{Now: func() time.Time { return at }}, Parallel: 1}
}

func TestMirror(t *testing.T) {
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	to := newMemStore()
	result := memMirror(t, source, to, mirrorAt(start))
	if !result.Changed || result.Targets != 4 || result.Roots != 1 || result.Versions.Timestamp != 2 {
		t.Errorf("got %+v", result)
	}
	wantSame(t, source, to)
	old := newNode(t, to, start)
	old.sees("1")

	writes := 0
	to.before = func(string, string) error { writes++; return nil }
	if result = memMirror(t, source, to, mirrorAt(start)); result.Changed || writes > 0 {
		t.Errorf("the same again makes %d writes: %+v", writes, result)
	}
	memPublish(t, r, keys, "2")
	if result = memMirror(t, source, to, mirrorAt(start)); result.Targets != 4 || result.Roots != 0 {
		t.Errorf("got %+v", result)
	}
	wantSame(t, source, to)
	old.sees("2")
	if past := to.names(historyDir); len(past) != 1 {
		t.Errorf("past states %q, want one", past)
	}
}

// TestMirrorPlaces mirrors between places of all kinds.
func TestMirrorPlaces(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	handler, err := NewHandler(r.Place())
	if err != nil {
		t.Fatal(err)
	}
	defer handler.Close()
	server := httptest.NewServer(handler)
	defer server.Close()
	froms := map[string]storage.Reader{
		"folder": r.store,
		"http":   storage.NewHTTP(server.URL, nil),
	}
	tos := map[string]func() storage.Store{
		"folder": func() storage.Store { return storage.NewFolder(t.TempDir()) },
	}
	if !testing.Short() {
		s3 := storagetest.StartS3(t)
		tos["bucket"] = func() storage.Store {
			store, err := storage.Open(t.Context(), s3.Bucket(t))
			if err != nil {
				t.Fatal(err)
			}
			return store
		}
		bucket := tos["bucket"]()
		memMirror(t, r.store, bucket, mirrorAt(start))
		froms["bucket"] = bucket
	}
	for source, from := range froms {
		for destination, place := range tos {
			t.Run(source+" to "+destination, func(t *testing.T) {
				to := place()
				opts := mirrorAt(start)
				opts.Parallel = 0
				if result := memMirror(t, from, to, opts); result.Targets != 4 {
					t.Errorf("got %+v", result)
				}
				newNode(t, to, start).sees("1")
				if _, err := Verify(t.Context(), to, VerifyOptions{Options: at(start)}); err != nil {
					t.Error(err)
				}
				if result := memMirror(t, from, to, mirrorAt(start)); result.Changed {
					t.Errorf("the same again: %+v", result)
				}
			})
		}
	}
}

// TestMirrorKilled stops a mirror at every write. A node sees the old or the
// new release, and the next run completes.
func TestMirrorKilled(t *testing.T) {
	t.Parallel()
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	before := newMemStore()
	memMirror(t, source, before, mirrorAt(start))
	memPublish(t, r, keys, "2")
	rotate(t, r, keys, true, Timestamp, Snapshot, Targets)
	for name, to := range map[string]*memStore{"new": newMemStore(), "incremental": before} {
		t.Run(name, func(t *testing.T) {
			killed := true
			for at := 0; killed; at++ {
				for _, done := range []bool{false, true} {
					killed = killMirror(t, source, to.clone(), at, done, name == "incremental") || killed && done
				}
				if at > 100 {
					t.Fatal("no end")
				}
			}
		})
	}
}

// killMirror ends a mirror at a write, before it or (done) after it, and
// reports whether it came to that.
func killMirror(t *testing.T, source, to *memStore, at int, done, old bool) (killed bool) {
	count := 0
	to.before = func(string, string) error {
		count++
		killed = killed || count > at+1 || !done && count == at+1
		if killed {
			return errCrash
		}
		return nil
	}
	var n *node
	if old {
		n = newNode(t, to, start)
		n.sees("1")
	}
	opts := mirrorAt(start)
	if _, err := Mirror(t.Context(), source, to, opts); killed != errors.Is(err, errCrash) {
		t.Fatalf("killed at write %d, and the error is %v", at, err)
	}
	if old {
		n.sees("1", "2")
	}
	to.before = nil
	memMirror(t, source, to, opts)
	wantSame(t, source, to)
	if old {
		n.sees("2")
	}
	newNode(t, to, start).sees("2")
	return killed
}

// TestMirrorLocked finds another writer at the destination, or meets one.
func TestMirrorLocked(t *testing.T) {
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	folder := storage.NewFolder(t.TempDir())
	unlock, err := folder.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = Mirror(t.Context(), source, folder, mirrorAt(start))
	wantReason(t, err, ReasonLocked)
	unlock()

	to := newMemStore()
	to.before = func(op, name string) error {
		if op == "replace" && name == timestampFile {
			to.put(timestampFile, []byte("somebody else's"))
		}
		return nil
	}
	_, err = Mirror(t.Context(), source, to, mirrorAt(start))
	wantReason(t, err, ReasonConflict)
	if string(to.files[timestampFile].data) != "somebody else's" {
		t.Error("the other's timestamp was replaced")
	}
}

// TestMirrorFull heals a mirror that has lost files, which an incremental run
// does not look for.
func TestMirrorFull(t *testing.T) {
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	to := newMemStore()
	memMirror(t, source, to, mirrorAt(start))
	whole := to.clone()
	for _, name := range whole.names("") {
		if name == timestampFile || strings.HasSuffix(name, "1.root.json") {
			continue
		}
		to := whole.clone()
		delete(to.files, name)
		opts := mirrorAt(start)
		opts.Full = true
		memMirror(t, source, to, opts)
		if !slices.Equal(to.names(""), whole.names("")) {
			t.Errorf("without %s: %q", name, to.names(""))
		}
		wantSame(t, source, to)
	}
}

// TestMirrorFullDisk has no room for a target.
func TestMirrorFullDisk(t *testing.T) {
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	to := newMemStore()
	memMirror(t, source, to, mirrorAt(start))
	memPublish(t, r, keys, "2")
	full := errors.New("no space left on device")
	to.before = func(_, name string) error {
		if strings.HasSuffix(name, ".initramfs") {
			return full
		}
		return nil
	}
	if _, err := Mirror(t.Context(), source, to, mirrorAt(start)); !errors.Is(err, full) {
		t.Fatalf("got %v", err)
	}
	newNode(t, to, start).sees("1")
	to.before = nil
	memMirror(t, source, to, mirrorAt(start))
	newNode(t, to, start).sees("2")
}

// TestMirrorFolderClean leaves nothing unfinished in a folder whose disk is full.
func TestMirrorFolderClean(t *testing.T) {
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	for name, f := range source.files {
		if strings.HasSuffix(name, ".initramfs") {
			source.put(name, f.data[:3])
		}
	}
	dir := t.TempDir()
	if _, err := Mirror(t.Context(), source, storage.NewFolder(dir), mirrorAt(start)); err == nil {
		t.Fatal("no error")
	}
	wantClean(t, newRepository(storage.NewFolder(dir), Options{}))
	left, err := filepath.Glob(filepath.Join(dir, "targets/releases/1/amd64/*.initramfs"))
	if err != nil || len(left) > 0 {
		t.Errorf("there is %q, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "metadata/timestamp.json")); !os.IsNotExist(err) {
		t.Errorf("there is a timestamp: %v", err)
	}
}

// TestMirrorCancelled ends when its context does.
func TestMirrorCancelled(t *testing.T) {
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	ctx, cancel := context.WithCancel(t.Context())
	to := newMemStore()
	to.after = func(op, _ string) {
		if op == "import" {
			cancel()
		}
	}
	if _, err := Mirror(ctx, source, to, mirrorAt(start)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if to.names(timestampFile) != nil {
		t.Error("there is a timestamp")
	}
}
