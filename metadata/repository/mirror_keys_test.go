package repository

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tufboot/metadata/storage"
)

// everyWrite lets nodes read a mirror after each of its writes, one that keeps
// what it has seen and one that is new, and returns after which the first
// failed.
func everyWrite(t *testing.T, source storage.Reader, to *memStore, now time.Time, versions ...string) (failed []string) {
	t.Helper()
	old := newNode(t, to, now)
	old.sees(versions...)
	to.after = func(op, name string) {
		for _, n := range []*node{old, newNode(t, to, now)} {
			got, err := n.update()
			if err != nil {
				failed = append(failed, op+" "+name)
			} else if !slices.Contains(versions, got) {
				t.Errorf("after %s %s a node sees %q", op, name, got)
			}
		}
	}
	memMirror(t, source, to, mirrorAt(now))
	to.after = nil
	old.sees(versions[len(versions)-1])
	return failed
}

// TestMirrorKeyChange has a node that reads the mirror after every write of it,
// while keys have changed at the source in several ways since the last run.
func TestMirrorKeyChange(t *testing.T) {
	t.Parallel()
	all := []string{Timestamp, Snapshot, Targets}
	for _, test := range []struct {
		name    string
		change  func(t *testing.T, r *Repository, keys Signers) // from release 1 to 2
		web     bool                                            // the source cannot be listed
		bridges int
		fails   bool // a window is left
	}{
		{name: "no change", change: func(t *testing.T, r *Repository, keys Signers) { memPublish(t, r, keys, "2") }},
		{name: "the change is the last publication", web: true, change: func(t *testing.T, r *Repository, keys Signers) {
			memPublish(t, r, keys, "2")
			rotate(t, r, keys, true, all...)
		}},
		{name: "publications after it", bridges: 1, change: func(t *testing.T, r *Repository, keys Signers) {
			keys = rotate(t, r, keys, true, all...)
			memPublish(t, r, keys, "2")
		}},
		{name: "publications after it, web server", web: true, fails: true, change: func(t *testing.T, r *Repository, keys Signers) {
			keys = rotate(t, r, keys, true, all...)
			memPublish(t, r, keys, "2")
		}},
		{name: "several changes", bridges: 2, change: func(t *testing.T, r *Repository, keys Signers) {
			keys = rotate(t, r, keys, true, Timestamp)
			keys = rotate(t, r, keys, true, Snapshot, Targets)
			memPublish(t, r, keys, "2")
		}},
		{name: "a change that matters to nobody", web: true, change: func(t *testing.T, r *Repository, keys Signers) {
			rotate(t, r, keys, true)
			memPublish(t, r, keys, "2")
		}},
		{name: "old keys are lost", fails: true, change: func(t *testing.T, r *Repository, keys Signers) {
			keys = rotate(t, r, keys, false, all...)
			memPublish(t, r, keys, "2")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, source, keys := memRepo(t)
			memPublish(t, r, keys, "1")
			to := newMemStore()
			memMirror(t, source, to, mirrorAt(start))
			test.change(t, r, keys)
			var from storage.Reader = source
			if test.web {
				from = readOnly{source}
			}
			copied := to.clone()
			if result := memMirror(t, from, copied, mirrorAt(start)); result.Bridges != test.bridges {
				t.Errorf("%d bridges, want %d", result.Bridges, test.bridges)
			}
			failed := everyWrite(t, from, to, start, "1", "2")
			// Where no bridge can be had, the window is from the first new root
			// to the timestamp, which comes next.
			for _, write := range failed {
				if !strings.HasSuffix(write, ".root.json") {
					t.Errorf("a node fails after %s", write)
				}
			}
			if (len(failed) > 0) != test.fails {
				t.Errorf("a node fails after %q", failed)
			}
			wantSame(t, source, to)
		})
	}
}

// TestMirrorBridgeGone has a bridge in the past of the source whose files are
// pruned: it must not be shown, and the mirror must come to its end.
func TestMirrorBridgeGone(t *testing.T) {
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	to := newMemStore()
	memMirror(t, source, to, mirrorAt(start))
	memPublish(t, r, keys, "1.5")
	keys = rotate(t, r, keys, true, Timestamp, Snapshot)
	memPublish(t, r, keys, "2")
	name := source.names("targets/channels/")
	for _, file := range name {
		if strings.Contains(string(source.files[file].data), `"version": "1.5"`) && !strings.Contains(string(source.files[file].data), `"version": "2"`) {
			delete(source.files, file)
		}
	}
	if len(source.names("targets/channels/")) != len(name)-1 {
		t.Fatal("the channel file of 1.5 was not found")
	}
	result := memMirror(t, source, to, mirrorAt(start))
	if result.Bridges != 0 {
		t.Errorf("got %+v", result)
	}
	newNode(t, to, start).sees("2")
}
