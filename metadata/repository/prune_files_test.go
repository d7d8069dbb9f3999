package repository

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tufboot/metadata/storage"
	"tufboot/metadata/storage/storagetest"
)

// TestPruneStrangers leaves alone what is not a repository's.
func TestPruneStrangers(t *testing.T) {
	r, s, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	memPublish(t, r, keys, "2")
	sum := strings.Repeat("ab", 32)
	stay := []string{
		"README", "index.html", sum + ".x", "metadata/README", "metadata/root.json", "metadata/1.root.json.bak", "metadata/0.root.json",
		"metadata/70.root.json", "metadata/01.targets.json", "metadata/90.snapshot.json", "metadata/1.new-role.json", "metadata/old/1.targets.json", "metadata/" + sum + ".x",
		"targets/README", "targets/releases/1/amd64/vmlinuz", "targets/abcd.vmlinuz", "other/" + sum + ".x",
		storage.WorkDir + "/history/x.json", storage.WorkDir + "/history/999.json", storage.WorkDir + "/lock", storage.WorkDir + "/pending/1.json",
	}
	goes := []string{"targets/" + sum + ".x", "targets/releases/1/amd64/" + sum + ".vmlinuz", "targets/" + sum + sum + ".x", "metadata/1.snapshot.json"}
	for _, name := range append(slices.Clone(stay), goes...) {
		if _, ok := s.files[name]; !ok {
			s.put(name, []byte("stranger"))
		}
	}
	s.now = s.now.Add(30 * day)
	s.put("targets/"+strings.Repeat("cd", 32)+".new", []byte("new"))
	for range 7 { // past the last states
		if _, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true}); err != nil {
			t.Fatal(err)
		}
	}
	s.now = s.now.Add(DefaultGrace - time.Hour)
	prune(t, r, PruneOptions{Grace: DefaultGrace, FilesOnly: true})
	for _, name := range append(stay, "targets/"+strings.Repeat("cd", 32)+".new") {
		if _, ok := s.files[name]; !ok {
			t.Errorf("%s was removed", name)
		}
	}
	for _, name := range goes {
		if _, ok := s.files[name]; ok {
			t.Errorf("%s is there", name)
		}
	}
}

// TestPruneRefuses has what keeps it from knowing what is needed.
func TestPruneRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		break_ func(s *memStore)
		opts   PruneOptions
		reason string
	}{
		{"a channel is torn", func(s *memStore) {
			for _, name := range s.names("targets/channels/") {
				s.put(name, []byte("{"))
			}
		}, PruneOptions{}, ReasonBadRepository},
		{"a role is gone", func(s *memStore) {
			for _, name := range s.names("metadata/") {
				if strings.HasSuffix(name, ".releases.json") {
					delete(s.files, name)
				}
			}
		}, PruneOptions{}, ReasonBadRepository},
		{"a role is gone, files only", func(s *memStore) {
			for _, name := range s.names("metadata/") {
				if strings.HasSuffix(name, ".releases.json") {
					delete(s.files, name)
				}
			}
		}, PruneOptions{FilesOnly: true}, ReasonBadRepository},
		{"no keys", func(*memStore) {}, PruneOptions{Keys: noKeys{}}, ReasonNotEnoughKeys},
		{"negative", func(*memStore) {}, PruneOptions{Keep: -1}, ""},
		{"negative grace", func(*memStore) {}, PruneOptions{Grace: -1}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, s, keys := memRepo(t)
			memPublish(t, r, keys, "1")
			memPublish(t, r, keys, "2")
			s.now = s.now.Add(30 * day)
			test.break_(s)
			before := s.names("")
			if test.opts.Keys == nil {
				test.opts.Keys = keys
			}
			_, err := r.Prune(t.Context(), test.opts)
			if test.reason != "" {
				wantReason(t, err, test.reason)
			} else if err == nil {
				t.Error("no error")
			}
			if !slices.Equal(before, s.names("")) {
				t.Errorf("files were removed: %q", s.names(""))
			}
		})
	}
}

// TestPrunePlaces does it in a folder and in a bucket.
func TestPrunePlaces(t *testing.T) {
	places := map[string]storage.Store{"folder": storage.NewFolder(t.TempDir())}
	if !testing.Short() {
		s3 := storagetest.StartS3(t)
		bucket, err := storage.Open(t.Context(), s3.Bucket(t))
		if err != nil {
			t.Fatal(err)
		}
		places["bucket"] = bucket
	}
	roles, keys, _ := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
	for name, store := range places {
		t.Run(name, func(t *testing.T) {
			now := time.Now() // the time of files cannot be set
			opts := Options{Now: func() time.Time { return now }}
			r, err := Create(t.Context(), store, CreateOptions{Options: opts, Roles: roles, Keys: keys})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				memPublish(t, r, keys, fmt.Sprint(i))
			}
			if result := prune(t, r, PruneOptions{Keep: 1, Grace: time.Hour, Keys: keys}); len(result.Files)+len(result.Releases) > 0 {
				t.Errorf("at once: %+v", result)
			}
			now = now.Add(2 * time.Hour)
			if result := prune(t, r, PruneOptions{Keep: 1, Grace: time.Hour, Keys: keys}); len(result.Releases) != 2 {
				t.Errorf("later: %+v", result.Releases)
			}
			now = now.Add(2 * time.Hour)
			result := prune(t, r, PruneOptions{Keep: 1, Grace: time.Hour, Keys: keys})
			kernels := 0
			for _, f := range result.Files {
				if strings.HasSuffix(f.Name, ".vmlinuz") {
					kernels++
				}
			}
			if kernels != 2 {
				t.Errorf("%d kernels were removed: %+v", kernels, result.Files)
			}
			newNode(t, store, now).sees("3")
		})
	}
}

// TestPruneLocked meets another writer of a folder.
func TestPruneLocked(t *testing.T) {
	r, keys := newRepo(t)
	unlock, err := r.store.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	_, err = r.Prune(t.Context(), PruneOptions{Keys: keys})
	wantReason(t, err, ReasonLocked)
}

// TestPruneMirror prunes a mirror, which has no keys, by its own past.
func TestPruneMirror(t *testing.T) {
	r, s, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	to := newMemStore()
	memMirror(t, s, to, mirrorAt(start))
	for i := 2; i < 9; i++ {
		memPublish(t, r, keys, fmt.Sprint(i))
	}
	s.now = s.now.Add(8 * day)
	prune(t, r, PruneOptions{Keys: keys, Grace: DefaultGrace})
	to.now = s.now
	memMirror(t, s, to, mirrorAt(s.now))
	mirror := newRepository(to, Options{Now: func() time.Time { return to.now }})
	for range 3 {
		if _, there := versionsOf(t, mirror, to); !strings.Contains(there, "1") {
			t.Fatalf("within the grace period of the mirror there are %s", there)
		}
		prune(t, mirror, PruneOptions{FilesOnly: true, Grace: DefaultGrace})
		to.now = to.now.Add(2 * day)
	}
	to.now = to.now.Add(2 * day)
	prune(t, mirror, PruneOptions{FilesOnly: true, Grace: DefaultGrace})
	if _, there := versionsOf(t, mirror, to); there != "8" {
		t.Errorf("there are %s", there)
	}
}

// TestPruneFolderFiles leaves a folder that is still a repository.
func TestPruneFolderFiles(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	publish(t, r, keys, "2")
	old := start.Add(-365 * day)
	err := filepath.Walk(r.Place(), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			return os.Chtimes(path, old, old)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r.now = func() time.Time { return start.Add(time.Second) }
	result := prune(t, r, PruneOptions{Keys: keys})
	if len(result.Releases) != 1 || result.Bytes == 0 {
		t.Errorf("got %+v", result)
	}
	newReader(t, r.Place()).sees("2")
}
