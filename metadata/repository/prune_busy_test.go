package repository

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tufboot/metadata"
)

// TestPruneInFlight has a client that refreshed before a release was taken out,
// and downloads after, up to the end of the grace period.
func TestPruneInFlight(t *testing.T) {
	r, s, keys := memRepo(t)
	opts := release(t, keys, "1", "1")
	if _, err := r.Publish(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(30 * day)
	if _, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys}); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, s, s.now)
	inFlight := n.client()
	if err := inFlight.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := 2; i < 9; i++ {
		memPublish(t, r, keys, fmt.Sprint(i))
	}
	for range 8 {
		prune(t, r, PruneOptions{Grace: DefaultGrace, Keys: keys})
		if got, err := n.download(inFlight); err != nil || got != "1" {
			t.Fatalf("after %v: %q, %v", s.now, got, err)
		}
		s.now = s.now.Add(20 * time.Hour)
	}
	s.now = s.now.Add(2 * day)
	prune(t, r, PruneOptions{Grace: DefaultGrace, Keys: keys})
	if _, err := n.download(inFlight); err == nil {
		t.Error("after the grace period the files are there still")
	}
}

// TestPruneBins does it with a role that is split over bins, of which the old
// ones are listed for ever.
func TestPruneBins(t *testing.T) {
	r, s, keys := memRepo(t)
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	add := func(from, to int) {
		for i := from; i < to; i++ {
			rel := &metadata.Release{Schema: metadata.Schema, Version: fmt.Sprint(i), Arch: "amd64"}
			for _, part := range []struct {
				file string
				a    *metadata.Artifact
			}{{metadata.KernelFile, &rel.Kernel}, {metadata.InitramfsFile, &rel.Initramfs}} {
				a, err := e.AddBytes(t.Context(), metadata.ReleaseTarget(rel.Version, rel.Arch, part.file), []byte(part.file+rel.Version))
				if err != nil {
					t.Fatal(err)
				}
				*part.a = a
			}
			data, err := rel.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.AddBytes(t.Context(), metadata.ReleaseTarget(rel.Version, rel.Arch, metadata.ManifestFile), data); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := e.Commit(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
	}
	add(0, 70) // 16 bins
	if e.state.roles["releases-0"] == nil {
		t.Fatal("no bins")
	}
	e.Close()
	memPublish(t, r, keys, "current")
	for range 3 {
		s.now = s.now.Add(8 * day)
		if _, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true}); err != nil {
			t.Fatal(err)
		}
		prune(t, r, PruneOptions{Grace: DefaultGrace, Keys: keys})
	}
	if listed, there := versionsOf(t, r, s); listed != "current" || there != "current" {
		t.Errorf("listed %s, there are %s", listed, there)
	}
	newNode(t, s, s.now).sees("current")
	to := newMemStore()
	to.now = s.now
	memMirror(t, s, to, mirrorAt(s.now))
	wantSame(t, s, to)
}

// TestPruneKilled stops it at every write and removal.
func TestPruneKilled(t *testing.T) {
	t.Parallel()
	r, whole, keys := memRepo(t)
	for i := range 5 {
		memPublish(t, r, keys, fmt.Sprint(i))
	}
	whole.now = whole.now.Add(30 * day)
	memPublish(t, r, keys, "5")
	for at, killed := 0, true; killed; at++ {
		s := whole.clone()
		r := newRepository(s, Options{Now: func() time.Time { return s.now }})
		n := newNode(t, s, s.now)
		n.sees("5")
		killed = false
		count := 0
		s.before = func(string, string) error {
			if count++; count > at {
				killed = true
				return errCrash
			}
			return nil
		}
		opts := PruneOptions{Keep: 1, Keys: keys, Parallel: 1} // no grace: all goes at once
		if _, err := r.Prune(t.Context(), opts); killed != errors.Is(err, errCrash) {
			t.Fatalf("killed at %d, and the error is %v", at, err)
		}
		s.before = nil
		n.sees("5")
		if _, err := Verify(t.Context(), s, VerifyOptions{Options: Options{Now: func() time.Time { return s.now }}}); err != nil {
			t.Fatalf("killed at %d: %v", at, err)
		}
		wantPast(t, s)
		prune(t, r, opts)
		if listed, there := versionsOf(t, r, s); listed != "4 5" || there != "4 5" {
			t.Fatalf("killed at %d: listed %s, there are %s", at, listed, there)
		}
		n.sees("5")
		memPublish(t, r, keys, "6")
		n.sees("6")
	}
}

// wantPast checks that every past state that is written down can be read.
func wantPast(t *testing.T, s *memStore) {
	t.Helper()
	past, err := history(t.Context(), s, 0)
	if err != nil {
		t.Fatal(err)
	}
	row, err := rootRow(nil).follow(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range past {
		st, err := loadPublished(t.Context(), s, row[:p.Root], p.Timestamp)
		if err == nil {
			_, err = st.all(t.Context())
		}
		if err != nil {
			t.Errorf("a past state: %v", err)
		}
	}
}

// TestPruneUpload has a publisher that has uploaded its files, and not published
// them yet, when a bucket is pruned.
func TestPruneUpload(t *testing.T) {
	r, s, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	s.now = s.now.Add(30 * day)
	var pruned *Pruned
	s.before = func(op, name string) error {
		if op == "replace" && pruned == nil {
			pruned = &Pruned{} // prune itself publishes
			s.now = s.now.Add(3 * day)
			pruned = prune(t, r, PruneOptions{Grace: DefaultGrace, Keys: keys, FilesOnly: true})
		}
		return nil
	}
	memPublish(t, r, keys, "2")
	s.before = nil
	for _, f := range pruned.Files {
		if strings.Contains(f.Name, "/2/amd64/") {
			t.Errorf("%s was removed", f.Name)
		}
	}
	newNode(t, s, s.now).sees("2")
	if _, err := Verify(t.Context(), s, VerifyOptions{Options: at(s.now)}); err != nil {
		t.Error(err)
	}
}

// TestPrunePublishedMeanwhile has a publisher that finishes while files are
// removed, each time before another one.
func TestPrunePublishedMeanwhile(t *testing.T) {
	t.Parallel()
	for when := range 12 {
		r, s, keys := memRepo(t)
		for i := range 4 {
			memPublish(t, r, keys, fmt.Sprint(i))
		}
		s.now = s.now.Add(30 * day)
		count, done := 0, false
		s.before = func(op, _ string) error {
			if op == "remove" {
				count++
			}
			if count == when+1 && !done {
				done = true
				memPublish(t, newRepository(s, Options{Now: func() time.Time { return s.now }}), keys, "100")
			}
			return nil
		}
		_, err := r.Prune(t.Context(), PruneOptions{Keys: keys, Grace: time.Hour, Parallel: 1})
		s.before = nil
		if err != nil {
			wantReason(t, err, ReasonConflict) // the publisher was faster
		}
		want := "100"
		if !done {
			want = "3" // fewer files were removed
		}
		newNode(t, s, s.now).sees(want)
		if _, err := Verify(t.Context(), s, VerifyOptions{Options: at(s.now)}); err != nil {
			t.Error(err)
		}
	}
}

// TestPruneReused is the one case that cannot be kept apart: a publisher finds
// a file that is about to be removed, and so does not upload it. It is told of.
func TestPruneReused(t *testing.T) {
	r, s, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	memPublish(t, r, keys, "2")
	s.now = s.now.Add(30 * day)
	prune(t, r, PruneOptions{Grace: DefaultGrace, Keys: keys})
	s.now = s.now.Add(30 * day)
	if _, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true}); err != nil {
		t.Fatal(err)
	}
	removed := ""
	s.after = func(op, name string) {
		if op == "remove" && strings.HasSuffix(name, ".vmlinuz") && removed == "" {
			removed = name
		}
	}
	publisher := newRepository(s, Options{Now: func() time.Time { return s.now }})
	s.before = func(op, name string) error {
		if op == "remove" && strings.HasSuffix(name, ".vmlinuz") && removed == "" {
			s.before = nil
			again := release(t, keys, "1", "1")
			again.Back = true
			if _, err := publisher.Publish(t.Context(), again); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	_, err := r.Prune(t.Context(), PruneOptions{Grace: DefaultGrace, Keys: keys, FilesOnly: true, Parallel: 1})
	if removed == "" {
		t.Fatal("nothing was removed")
	}
	if _, ok := s.files[removed]; ok {
		t.Fatal("it was uploaded again: the case is not the one that is meant")
	}
	wantReason(t, err, ReasonConflict)
	if _, err := Verify(t.Context(), s, VerifyOptions{Options: at(s.now)}); err == nil {
		t.Fatal("nothing is missing")
	}
	// The advice: publish it again.
	if p, err := publisher.Publish(t.Context(), release(t, keys, "1", "1")); err != nil || p.Changed {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := Verify(t.Context(), s, VerifyOptions{Options: at(s.now)}); err != nil {
		t.Error(err)
	}
	newNode(t, s, s.now).sees("1")
}

// TestPublishPutsBack: whatever file of a published release is missing, publishing
// it again puts that back, and changes nothing else.
func TestPublishPutsBack(t *testing.T) {
	r, s, keys := memRepo(t)
	opts := largeRelease(t, keys, "1", randomBytes(metadata.MinChunked, 1))
	mustPublish(t, r, opts)
	whole := s.clone()
	lost := 0
	for name := range whole.files {
		if !strings.Contains(name, "/releases/1/") {
			continue
		}
		lost++
		for _, noDelta := range []bool{false, true} {
			s := whole.clone()
			delete(s.files, name)
			opts.NoDelta = noDelta
			if p := mustPublish(t, newRepository(s, at(s.now)), opts); p.Changed {
				t.Errorf("without %s: %+v", name, p)
			}
			wantSame(t, whole, s)
		}
	}
	if lost != 4 { // manifest, kernel, initramfs, its map
		t.Errorf("%d files", lost)
	}
	// What is not the same release is refused, and nothing is put back.
	for name := range whole.files {
		if !strings.HasSuffix(name, ".vmlinuz") {
			continue
		}
		delete(s.files, name)
		_, err := r.Publish(t.Context(), largeRelease(t, keys, "1", randomBytes(metadata.MinChunked, 2)))
		wantReason(t, err, ReasonVersionExists)
		if _, ok := s.files[name]; ok {
			t.Error("it was put back")
		}
	}
}
