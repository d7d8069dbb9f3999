package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"
	"testing"

	"tufboot/metadata/storage"
	"tufboot/metadata/storage/storagetest"
)

// faulty is a bucket behind a proxy, and the same one without it.
type faulty struct {
	store, direct storage.Store
	proxy         *storagetest.Proxy
}

func newFaulty(t *testing.T, server *storagetest.S3) faulty {
	t.Helper()
	address := server.Bucket(t)
	proxy := storagetest.NewProxy(t, server.Endpoint)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return faulty{openStore(t, server.Address(u.Host, proxy.URL)), openStore(t, address), proxy}
}

const oneName = "metadata/2.root.json"

var (
	large     = bytes.Repeat([]byte("0123456789abcde\n"), 20<<16) // in several pieces
	largeName = "targets/" + strings.Repeat("0", 3) + ".initramfs"
)

// writes are all ways to write a file, and the requests that each consists of.
var writes = []struct {
	name     string
	file     string
	requests []string
	write    func(t *testing.T, s storage.Store, old storage.Info) error
	replaces bool
}{
	{"create", oneName, []string{"put"}, func(t *testing.T, s storage.Store, _ storage.Info) error {
		return s.Create(t.Context(), oneName, []byte("new"))
	}, false},
	{"replace", oneName, []string{"put"}, func(t *testing.T, s storage.Store, old storage.Info) error {
		return s.Replace(t.Context(), oneName, []byte("new"), old)
	}, true},
	{"import", oneName, []string{"head", "put"}, importer([]byte("new"), oneName), false},
	{"import in pieces", largeName, []string{"start", "part 1", "part 2", "part 3", "complete"}, importer(large, largeName), false},
}

func importer(data []byte, name string) func(*testing.T, storage.Store, storage.Info) error {
	return func(t *testing.T, s storage.Store, _ storage.Info) error {
		_, _, err := s.Import(t.Context(), storage.Bytes(data), func(string) string { return name })
		return err
	}
}

// TestFaultyBucket lets every request of every kind of write fail in every way:
// the caller is told, nothing has changed, and a second call succeeds.
func TestFaultyBucket(t *testing.T) {
	server := storagetest.StartS3(t)
	faults := []struct {
		name  string
		fault storagetest.Fault
		want  string
	}{
		{"403", storagetest.Denied, "access denied: the credentials may not "},
		{"500", storagetest.Broken, "the server failed, also when asked again"},
		{"half", storagetest.Half, ""},
	}
	for _, write := range writes {
		for _, request := range write.requests {
			for _, fault := range faults {
				t.Run(write.name+"/"+request+"/"+fault.name, func(t *testing.T) {
					t.Parallel()
					f := newFaulty(t, server)
					var old storage.Info
					if write.replaces {
						old = put(t, f.direct, write.file, "old")
					}
					before := contents(t, f.direct)
					f.proxy.Rule(storagetest.Always(request, fault.fault))
					err := write.write(t, f.store, old)
					if err == nil {
						t.Fatal("says that it has written")
					}
					for _, want := range []string{fault.want, write.file, f.store.String()} {
						if !strings.Contains(err.Error(), want) {
							t.Errorf("the error does not say %q: %v", want, err)
						}
					}
					if now := contents(t, f.direct); now != before {
						t.Errorf("there is now %q, was %q", now, before)
					}
					f.proxy.Rule(nil)
					if err := write.write(t, f.store, old); err != nil {
						t.Errorf("again: %v", err)
					}
				})
			}
		}
	}
}

// TestLostAnswer cuts the connection after the server has done what it was
// asked to. The client's second try is refused, because the first had
// succeeded: that must not be taken for somebody else's write.
func TestLostAnswer(t *testing.T) {
	server := storagetest.StartS3(t)
	for _, write := range writes {
		last := write.requests[len(write.requests)-1]
		setUp := func(t *testing.T) (faulty, storage.Info) {
			t.Parallel()
			f := newFaulty(t, server)
			var old storage.Info
			if write.replaces {
				old = put(t, f.direct, write.file, "old")
			}
			return f, old
		}
		t.Run(write.name+"/once", func(t *testing.T) {
			f, old := setUp(t)
			f.proxy.Rule(storagetest.Once(last, storagetest.Lost, nil))
			if err := write.write(t, f.store, old); err != nil {
				t.Error(err)
			}
			wantWritten(t, f.direct, write.file)
		})
		t.Run(write.name+"/each time", func(t *testing.T) {
			f, old := setUp(t)
			f.proxy.Rule(storagetest.Always(last, storagetest.Lost))
			if err := write.write(t, f.store, old); err != nil {
				t.Error(err)
			}
			wantWritten(t, f.direct, write.file)
		})
		t.Run(write.name+"/and then no more", func(t *testing.T) {
			f, old := setUp(t)
			lost := false
			f.proxy.Rule(func(kind string) storagetest.Fault {
				if lost {
					return storagetest.Broken
				}
				if lost = kind == last; lost {
					return storagetest.Lost
				}
				return storagetest.None
			})
			err := write.write(t, f.store, old)
			if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, storage.ErrChanged) {
				t.Errorf("claims to know: %v", err)
			}
		})
	}
}

// TestSomebodyElse has another writer come first while this one's requests are
// lost, with other content or with the very same: it is the other who has won.
func TestSomebodyElse(t *testing.T) {
	server := storagetest.StartS3(t)
	for _, write := range writes[:2] {
		for _, content := range []string{"other", "new"} {
			t.Run(write.name+"/"+content, func(t *testing.T) {
				t.Parallel()
				f := newFaulty(t, server)
				want := fs.ErrExist
				var old storage.Info
				if write.replaces {
					old, want = put(t, f.direct, write.file, "old"), storage.ErrChanged
				}
				f.proxy.Rule(storagetest.Once("put", storagetest.Half, func() {
					if err := f.direct.Replace(t.Context(), write.file, []byte(content), old); err != nil {
						t.Error(err)
					}
				}))
				if err := write.write(t, f.store, old); !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
				if got := contents(t, f.direct); got != write.file+"="+content {
					t.Errorf("there is %q", got)
				}
			})
		}
	}
}

// TestConflict: S3 answers 409 while another write to the same object is under
// way; the next answer tells who was first.
func TestConflict(t *testing.T) {
	server := storagetest.StartS3(t)
	for _, write := range writes[:2] {
		f := newFaulty(t, server)
		var old storage.Info
		if write.replaces {
			old = put(t, f.direct, write.file, "old")
		}
		f.proxy.Rule(storagetest.Once("put", storagetest.Conflict, nil))
		if err := write.write(t, f.store, old); err != nil {
			t.Errorf("%s: %v", write.name, err)
		}
		f.proxy.Rule(storagetest.Always("put", storagetest.Conflict))
		if err := write.write(t, f.store, old); err == nil {
			t.Errorf("%s: says that it has written", write.name)
		}
	}
}

// TestFaultyReads: what cannot be read is not taken for what is not there, nor
// a list that cannot be read for an empty one.
func TestFaultyReads(t *testing.T) {
	server := storagetest.StartS3(t)
	reads := map[string]func(ctx context.Context, s storage.Store) error{
		"open":   func(ctx context.Context, s storage.Store) error { _, _, err := s.Open(ctx, oneName); return err },
		"stat":   func(ctx context.Context, s storage.Store) error { _, err := s.Stat(ctx, oneName); return err },
		"remove": func(ctx context.Context, s storage.Store) error { return s.Remove(ctx, oneName) },
		"list": func(ctx context.Context, s storage.Store) (err error) {
			for _, err = range s.List(ctx, "") {
			}
			return err
		},
	}
	for what, read := range reads {
		for _, fault := range []storagetest.Fault{storagetest.Denied, storagetest.Broken, storagetest.Lost} {
			t.Run(fmt.Sprint(what, "/", fault), func(t *testing.T) {
				t.Parallel()
				f := newFaulty(t, server)
				put(t, f.direct, oneName, "old")
				f.proxy.Rule(func(string) storagetest.Fault { return fault })
				err := read(t.Context(), f.store)
				if err == nil || errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("got %v", err)
				}
				if denied := strings.Contains(err.Error(), "access denied: the credentials may not "); denied != (fault == storagetest.Denied) {
					t.Error(err)
				}
				if got := contents(t, f.direct); got != oneName+"=old" {
					t.Errorf("there is %q", got)
				}
			})
		}
	}
}

// Helpers.

func put(t *testing.T, s storage.Store, name, content string) storage.Info {
	t.Helper()
	if err := s.Create(t.Context(), name, []byte(content)); err != nil {
		t.Fatal(err)
	}
	_, info, err := storage.ReadFile(t.Context(), s, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// contents returns all that a store holds.
func contents(t *testing.T, s storage.Store) string {
	t.Helper()
	var all []string
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		data, _, err := storage.ReadFile(t.Context(), s, info.Name, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Name+"="+string(data))
	}
	return strings.Join(all, " ")
}

func wantWritten(t *testing.T, s storage.Store, name string) {
	t.Helper()
	r, _, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	want := "new"
	if name == largeName {
		want = string(large)
	}
	if err != nil || string(data) != want {
		t.Errorf("%s holds %d bytes, %v", name, len(data), err)
	}
}
