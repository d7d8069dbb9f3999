package repository

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// TestMirrorBadTargets has a source whose target is not what was signed: nothing
// of it may be seen at the mirror, and readers keep what they have.
func TestMirrorBadTargets(t *testing.T) {
	t.Parallel()
	change := map[string]func([]byte) []byte{
		"torn":      func(b []byte) []byte { return b[:len(b)-1] },
		"longer":    func(b []byte) []byte { return append(bytes.Clone(b), 0) },
		"corrupt":   func(b []byte) []byte { c := bytes.Clone(b); c[0] ^= 1; return c },
		"empty":     func([]byte) []byte { return nil },
		"not there": nil,
	}
	for name, do := range change {
		for _, kind := range []string{"vmlinuz", "initramfs", "release.json", "stable.json"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				r, source, keys := memRepo(t)
				memPublish(t, r, keys, "1")
				to := newMemStore()
				memMirror(t, source, to, mirrorAt(start))
				known := source.names("")
				memPublish(t, r, keys, "2")
				bad := ""
				for _, file := range source.names(metadata.TargetsDir) {
					if strings.HasSuffix(file, "."+kind) && !slices.Contains(known, file) {
						bad = file
					}
				}
				if f := source.files[bad]; do != nil {
					f.data = do(f.data)
					source.files[bad] = f
				} else {
					delete(source.files, bad)
				}
				_, err := Mirror(t.Context(), source, to, mirrorAt(start))
				var invalid *InvalidError
				if !errors.As(err, &invalid) || !strings.Contains(err.Error(), kind) {
					t.Fatalf("got %v", err)
				}
				reasons := map[string]string{"corrupt": "bad-hash", "not there": ReasonBadRepository}
				wantReason(t, err, cmp.Or(reasons[name], "bad-length"))
				if _, there := to.files[bad]; there {
					t.Errorf("%s is at the mirror", bad)
				}
				newNode(t, to, start).sees("1")
			})
		}
	}
}

// TestMirrorEndless has a source that never stops to send a target.
func TestMirrorEndless(t *testing.T) {
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	sent := 0
	from := endless{source, &sent}
	_, err := Mirror(t.Context(), from, newMemStore(), mirrorAt(start))
	wantReason(t, err, "bad-length")
	if sent > 1<<20 {
		t.Errorf("%d bytes were taken", sent)
	}
}

// endless is a reader whose targets have no end.
type endless struct {
	storage.Reader
	sent *int
}

func (e endless) Open(ctx context.Context, name string) (io.ReadCloser, storage.Info, error) {
	r, info, err := e.Reader.Open(ctx, name)
	if strings.HasSuffix(name, ".vmlinuz") {
		r = io.NopCloser(e)
	}
	return r, info, err
}

func (e endless) Read(p []byte) (int, error) {
	if *e.sent += len(p); *e.sent > 1<<24 {
		return 0, errors.New("enough")
	}
	return len(p), nil
}

// TestMirrorBadMetadata does the same for metadata, each file torn, corrupt,
// gone, or another one's.
func TestMirrorBadMetadata(t *testing.T) {
	t.Parallel()
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	mirrored := newMemStore()
	memMirror(t, source, mirrored, mirrorAt(start))
	known := source.names("")
	keys = rotate(t, r, keys, true, Timestamp, Snapshot)
	memPublish(t, r, keys, "2")
	for _, file := range source.names(metadata.MetadataDir) {
		if slices.Contains(known, file) && file != timestampFile {
			continue
		}
		// The first of two snapshots is only named by a past state.
		if file == versionedFile(Snapshot, 3) {
			continue
		}
		data := source.files[file].data
		for name, bad := range map[string][]byte{
			"torn":    data[:len(data)/2],
			"corrupt": bytes.Replace(data, []byte(`"version": `), []byte(`"version": 1`), 1),
			"other":   source.files[versionedFile(Targets, 1)].data,
			"empty":   {},
			"null":    []byte(`{"signatures":[],"signed":{"_type":"targets","targets":{"a":null}}}`),
			"gone":    nil,
		} {
			t.Run(file+" "+name, func(t *testing.T) {
				from, to := source.clone(), mirrored.clone()
				if from.put(file, bad); bad == nil {
					delete(from.files, file)
				}
				_, err := Mirror(t.Context(), from, to, mirrorAt(start))
				var invalid *InvalidError
				if !errors.As(err, &invalid) {
					t.Errorf("got %v", err)
				}
				newNode(t, to, start).sees("1")
			})
		}
	}
}

// TestMirrorRefuses has what must not be mirrored.
func TestMirrorRefuses(t *testing.T) {
	r, source, keys := memRepo(t)
	memPublish(t, r, keys, "1")
	old := source.clone()
	memPublish(t, r, keys, "2")
	keys = rotate(t, r, keys, true, Timestamp)
	rotated := source.clone()
	memPublish(t, r, keys, "3")
	fork := rotated.clone()
	memPublish(t, newRepository(fork, at(start.Add(time.Hour))), keys, "3-fork")
	_, other, _ := memRepo(t)
	refreshed := func(at time.Time) *memStore { // signs a new timestamp, and nothing else
		s := source.clone()
		s.now = at
		result, err := newRepository(s, Options{Now: func() time.Time { return at }}).Refresh(t.Context(), RefreshOptions{Keys: keys})
		if err != nil || len(result.Signed) != 1 {
			t.Fatalf("%+v, %v", result, err)
		}
		return s
	}

	mirrorOf := func(s *memStore) *memStore {
		to := newMemStore()
		memMirror(t, s, to, mirrorAt(start))
		return to
	}
	rootOf := func(s *memStore, n int64) []byte { return s.files[versionedFile(Root, n)].data }
	late := mirrorAt(start.Add(15 * day))
	allowed := late
	allowed.AllowExpired = true
	trusting := func(root []byte) MirrorOptions {
		o := mirrorAt(start)
		o.Root = root
		return o
	}
	full := mirrorAt(start)
	full.Full = true
	bundle := newMemStore()
	bundle.put(bundleFile, []byte("{}"))
	numberFork := mirrorOf(old)
	numberFork.put(versionedFile(Snapshot, 3), []byte("{}"))
	for _, test := range []struct {
		name   string
		from   *memStore
		to     *memStore
		opts   MirrorOptions
		reason string // "": none
	}{
		{"a new one", source, mirrorOf(old), mirrorAt(start), ""},
		{"an older root", old, mirrorOf(source), mirrorAt(start), ReasonSourceOlder},
		{"an older timestamp", rotated, mirrorOf(source), mirrorAt(start), ReasonSourceOlder},
		{"an older timestamp alone", source, mirrorOf(refreshed(start.Add(8 * day))), mirrorAt(start), ReasonSourceOlder},
		{"the same timestamp with other content", refreshed(start.Add(8 * day)), mirrorOf(refreshed(start.Add(9 * day))), mirrorAt(start), ReasonFork},
		{"the same version with other content", fork, mirrorOf(source), mirrorAt(start), ReasonFork},
		{"the same number with other content", source, numberFork, mirrorAt(start), ReasonFork},
		{"another repository", other, mirrorOf(source), mirrorAt(start), ReasonFork},
		{"no repository", newMemStore(), newMemStore(), mirrorAt(start), ReasonNotRepository},
		{"no repository any more", newMemStore(), mirrorOf(source), mirrorAt(start), ReasonNotRepository},
		{"the root that is trusted", source, newMemStore(), trusting(rootOf(source, 1)), ""},
		{"its second version", source, newMemStore(), trusting(rootOf(source, 2)), ""},
		{"it, and there is something already", source, mirrorOf(old), trusting(rootOf(source, 2)), ""},
		{"another root that is trusted", source, newMemStore(), trusting(rootOf(other, 1)), "wrong-root"},
		{"it, and there is the wrong one already", source, mirrorOf(old), trusting(rootOf(other, 1)), "wrong-root"},
		{"a root that the source does not have yet", old, newMemStore(), trusting(rootOf(source, 2)), "wrong-root"},
		{"no root that is trusted", source, newMemStore(), trusting([]byte("{}")), ReasonBadRepository},
		{"expired", source, newMemStore(), late, "metadata-expired"},
		{"expired, and allowed", source, newMemStore(), allowed, ""},
		{"to a bundle", source, bundle, mirrorAt(start), ReasonNotEmpty},
		{"all of it, and another repository", other, mirrorOf(old), full, ReasonFork},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := test.to.clone()
			_, err := Mirror(t.Context(), test.from, test.to, test.opts)
			if test.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantReason(t, err, test.reason)
			if !bytes.Equal(before.files[timestampFile].data, test.to.files[timestampFile].data) ||
				len(before.names(metadata.MetadataDir+"/")) > len(test.to.names(metadata.MetadataDir+"/")) {
				t.Error("readers see something else")
			}
		})
	}
}
