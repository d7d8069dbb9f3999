package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestClear: what is too old goes, what is young stays, and the folder is made.
func TestClear(t *testing.T) {
	w := &workshop{shelf: filepath.Join(t.TempDir(), "build", "torture")}
	if err := w.clear(); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"good-bios-1": keptFor + time.Hour, "good-bios-2": time.Hour, "new-3": 2 * keptFor} {
		dir := filepath.Join(w.shelf, name)
		if err := os.MkdirAll(filepath.Join(dir, "repo"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.clear(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(w.shelf)
	if err != nil || len(left) != 1 || left[0].Name() != "good-bios-2" {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestPlan: the same seed has the same cases; one case that is asked for is tried in
// every way that the share has.
func TestPlan(t *testing.T) {
	r := &recording{story: story{name: "good-bios", requests: []request{{size: 512}, {size: 512}, {flush: true}}, history: history{1, 2, 3, none}}}
	w := &workshop{share: share{draws: 50, updates: 5, wholes: 3}, seed: 9}
	p, again := w.plan(r), w.plan(r)
	if len(p.updated) != 5 || len(p.booted) != 3 {
		t.Errorf("%d are updated, %d are booted", len(p.updated), len(p.booted))
	}
	for c := range p.booted {
		if !again.booted[c] {
			t.Errorf("%s is drawn once only", c)
		}
	}
	w.only = "good-bios:1:1"
	if p := w.plan(r); !p.updated[w.only] || !p.booted[w.only] || len(p.booted) != 1 {
		t.Errorf("%+v", p)
	}
	w.wholes = 0
	if p := w.plan(r); p.booted[w.only] {
		t.Error("no disk was to be booted whole")
	}
}
