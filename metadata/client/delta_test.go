package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/chunks"
	"tufboot/metadata/client"
)

// lab is a repository with one target, its chunk map, and a server that counts
// every byte that it sends of the target.
type lab struct {
	*server
	repo *repo
	c    *client.Client
	a    metadata.Artifact
	data []byte
	m    *chunks.Map
	sum  *tally
}

// tally is what a server was asked for and sent of a target.
type tally struct {
	mu     sync.Mutex
	ranges []string
	sent   int64
}

// counting counts what is written in a tally, before anybody can read it.
type counting struct {
	http.ResponseWriter
	sum *tally
}

func (c counting) Write(p []byte) (int, error) {
	c.sum.mu.Lock()
	c.sum.sent += int64(len(p))
	c.sum.mu.Unlock()
	return c.ResponseWriter.Write(p)
}

func (c counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func newLab(t testing.TB, data []byte) *lab {
	t.Helper()
	r := newRepo(t, "repo")
	a := r.put("releases/v1/amd64/payload", data)
	r.publish()
	l := &lab{server: serve(t, r), repo: r, a: a, data: data, m: mapOf(t, data), sum: new(tally)}
	l.c = refreshed(t, options(t, r, l.URL))
	l.serve(nil)
	return l
}

// serve has the target served by h, nil: as a file server does.
func (l *lab) serve(h http.HandlerFunc) {
	if h == nil {
		h = func(w http.ResponseWriter, req *http.Request) {
			http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(l.data))
		}
	}
	l.setFault(on("payload", func(w http.ResponseWriter, req *http.Request) {
		l.sum.mu.Lock()
		l.sum.ranges = append(l.sum.ranges, req.Header.Get("Range"))
		l.sum.mu.Unlock()
		h(counting{w, l.sum}, req)
	}))
}

// taken returns what was asked for and sent since the last call.
func (l *lab) taken() (ranges []string, sent int64) {
	l.sum.mu.Lock()
	defer l.sum.mu.Unlock()
	ranges, sent = l.sum.ranges, l.sum.sent
	l.sum.ranges, l.sum.sent = nil, 0
	return ranges, sent
}

// delta is the lab's map with seeds.
func (l *lab) delta(seeds ...[]byte) client.Delta {
	d := client.Delta{Map: l.m, MaxRequests: 48}
	for i, s := range seeds {
		d.Seeds = append(d.Seeds, client.Seed{Name: fmt.Sprint("seed ", i), Content: bytes.NewReader(s), Size: int64(len(s))})
	}
	return d
}

// download completes what is held, and returns all of it.
func (l *lab) download(ctx context.Context, d client.Delta, have []byte) ([]byte, client.Usage, error) {
	got := bytes.NewBuffer(bytes.Clone(have))
	usage, err := l.c.DownloadDelta(ctx, l.a, d, bytes.NewReader(have), got, nil)
	return got.Bytes(), usage, err
}

// want completes what is held, fails unless that is right, and returns what it
// cost.
func (l *lab) want(t *testing.T, d client.Delta, have []byte) client.Usage {
	t.Helper()
	l.taken()
	got, usage, err := l.download(t.Context(), d, have)
	must(t, err)
	if !bytes.Equal(got, l.data) {
		t.Error("other bytes than were published")
	}
	ranges, sent := l.taken()
	if usage.Requests != len(ranges) || usage.Fetched > sent {
		t.Errorf("usage %+v, but %d requests and %d bytes", usage, len(ranges), sent)
	}
	if usage.Fetched+usage.Reused < int64(len(l.data)-len(have)) {
		t.Errorf("usage %+v for %d bytes", usage, len(l.data)-len(have))
	}
	return usage
}

// once fails if a byte was fetched twice.
func (l *lab) once(t *testing.T, usage client.Usage, have []byte) {
	t.Helper()
	if got, want := usage.Fetched+usage.Reused, int64(len(l.data)-len(have)); got != want {
		t.Errorf("fetched and reused %d bytes, want %d", got, want)
	}
}

func mapOf(t testing.TB, data []byte) *chunks.Map {
	t.Helper()
	b := chunks.NewBuilder(chunks.DefaultParams())
	_, err := b.Write(data)
	must(t, err)
	m, err := b.Map()
	must(t, err)
	return m
}

func random(seed byte, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// edited returns data with n edits of size bytes, spread evenly.
func edited(data []byte, n, size int) []byte {
	data = bytes.Clone(data)
	for i := range n {
		at := len(data) / (n + 1) * (i + 1)
		copy(data[at:], random(byte(i), size))
	}
	return data
}

func TestDelta(t *testing.T) {
	data := random(1, 4<<20)
	l := newLab(t, data)
	half := len(data) / 2
	inserted := slices.Concat(data[:half], []byte("inserted"), data[half:])
	moved := slices.Concat(data[half:], data[:half])
	tests := []struct {
		name     string
		seeds    [][]byte
		fetched  int64 // at most
		requests int   // at most
	}{
		{"the same", [][]byte{data}, 0, 0},
		{"one byte changed", [][]byte{edited(data, 1, 1)}, 64 << 10, 1},
		{"one byte shorter", [][]byte{data[:len(data)-1]}, 64 << 10, 1},
		{"longer", [][]byte{append(bytes.Clone(data), "more"...)}, 64 << 10, 1},
		{"inserted", [][]byte{inserted}, 64 << 10, 1},
		{"the first byte is missing", [][]byte{data[1:]}, 64 << 10, 1},
		{"moved", [][]byte{moved}, 192 << 10, 3},
		{"ten edits", [][]byte{edited(data, 10, 100)}, 640 << 10, 10},
		{"more edits than requests", [][]byte{edited(data, 100, 100)}, 3 << 20, 48},
		{"every chunk changed", [][]byte{edited(data, 4000, 8)}, 4 << 20, 1},
		{"two halves", [][]byte{data[half:], data[:half]}, 128 << 10, 1},
		{"nothing in the first", [][]byte{random(2, 1<<20), data}, 0, 0},
		{"an empty one", [][]byte{{}, data}, 0, 0},
		{"nothing in common", [][]byte{random(2, 4<<20)}, 4 << 20, 1},
		{"no seeds", nil, 4 << 20, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			usage := l.want(t, l.delta(test.seeds...), nil)
			l.once(t, usage, nil)
			if usage.Fetched > test.fetched || usage.Requests > test.requests {
				t.Errorf("usage %+v, want at most %d bytes in %d requests", usage, test.fetched, test.requests)
			}
		})
	}
	t.Run("connections", func(t *testing.T) {
		l.connections()
		if l.want(t, l.delta(edited(data, 40, 100)), nil); l.connections() > 2 {
			t.Error("more than two connections")
		}
	})
	t.Run("few requests", func(t *testing.T) {
		d := l.delta(edited(data, 10, 100))
		for _, n := range []int{-1, 1, 3} {
			d.MaxRequests = n
			if usage := l.want(t, d, nil); usage.Requests > max(n, 1) {
				t.Errorf("usage %+v with at most %d requests", usage, n)
			}
		}
	})
	t.Run("no map", func(t *testing.T) {
		if usage := l.want(t, client.Delta{Seeds: l.delta(data).Seeds}, nil); usage.Requests != 1 || usage.Reused > 0 {
			t.Errorf("usage %+v", usage)
		}
	})
	t.Run("folder", func(t *testing.T) {
		l.c = refreshed(t, options(t, l.repo, fileURL(l.repo)))
		got, usage, err := l.download(t.Context(), l.delta(edited(data, 10, 100)), nil)
		must(t, err)
		if !bytes.Equal(got, data) || usage.Fetched > 640<<10 {
			t.Errorf("usage %+v", usage)
		}
	})
}

// What is held is gone on with at any byte, and nothing of it is fetched again.
func TestDeltaGoesOn(t *testing.T) {
	data := random(1, 1<<20)
	l := newLab(t, data)
	first := int(l.m.Chunks[0].Length)
	for _, seed := range [][]byte{data, edited(data, 7, 100), edited(data, 7, 100)[first/2:], random(2, 1<<20)} {
		for _, n := range []int{0, 1, first - 1, first, first + 1, 500_000, len(data) - 1, len(data)} {
			usage := l.want(t, l.delta(seed), data[:n])
			l.once(t, usage, data[:n])
			if usage.Reused == 0 && usage.Requests > 1 {
				t.Errorf("%d bytes held: usage %+v", n, usage)
			}
		}
	}
}

// A part that was cut off is gone on with where it stopped.
func TestDeltaPartIsGoneOnWith(t *testing.T) {
	data := random(1, 2<<20)
	l := newLab(t, data)
	const piece = 70_000
	l.serve(func(w http.ResponseWriter, req *http.Request) {
		var start, end int
		_, _ = fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &start, &end)
		end++
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(data)))
		w.Header().Set("Content-Length", fmt.Sprint(end-start))
		w.WriteHeader(http.StatusPartialContent)
		if end-start > piece {
			_, _ = w.Write(data[start:][:piece])
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(data[start:end])
	})
	usage := l.want(t, l.delta(data[:1<<20]), nil)
	l.once(t, usage, nil)
	if usage.Requests < 15 || usage.Requests > 17 {
		t.Errorf("usage %+v", usage)
	}
}

// What is held and wrong is found before anything is fetched or written.
func TestDeltaWrongPrefix(t *testing.T) {
	data := random(1, 1<<20)
	l := newLab(t, data)
	check := func(have []byte, seed []byte, most int64) {
		t.Helper()
		l.taken()
		got, usage, err := l.download(t.Context(), l.delta(seed), have)
		wantReason(t, err, client.ReasonBadHash)
		if !errors.Is(err, client.ErrHave) || len(got) != len(have) || usage.Fetched > most {
			t.Errorf("%v, usage %+v, %d bytes", err, usage, len(got)-len(have))
		}
	}
	wrong := edited(data, 1, 1)
	check(wrong, data, 0)
	check(wrong[:600_000], data, 0)
	// In the chunk that is not whole, one chunk is fetched to see it.
	check(wrong[:len(data)/2+1], data, chunks.MaxChunk)
	check(wrong[:len(data)/2+1], data[len(data)*3/4:], chunks.MaxChunk)
	got, _, err := l.download(t.Context(), l.delta(data), append(bytes.Clone(data), 0))
	wantReason(t, err, client.ReasonBadLength)
	if !errors.Is(err, client.ErrHave) || len(got) > len(data)+1 {
		t.Error(err)
	}
}

// Whatever a server does, the result is right or there is an error, and what a
// wrong answer costs is bounded.
func TestDeltaHostileServer(t *testing.T) {
	data := random(1, 4<<20)
	seed := edited(data, 10, 100)
	garbage := random(3, len(data))
	parts := func(answer func(w http.ResponseWriter, start, end int)) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			var start, end int
			if n, _ := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &start, &end); n == 2 {
				answer(w, start, end+1)
				return
			}
			http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
		}
	}
	partial := func(w http.ResponseWriter, contentRange string, body []byte) {
		w.Header().Set("Content-Range", contentRange)
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(body)
	}
	of := func(start, end int) string { return fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(data)) }
	const slack = 2 * chunks.MaxChunk
	tests := []struct {
		name   string
		fault  http.HandlerFunc
		reason string // "": the result is right
		sent   int64  // at most, of the artifact
	}{
		{"all of it for a part", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data)
		}, "", 4 << 20},
		{"all of it, no length", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }, "", 4 << 20},
		{"another range", parts(func(w http.ResponseWriter, start, end int) {
			partial(w, of(start+1, end+1), data[start:end])
		}), "", 4<<20 + slack},
		{"a shorter range", parts(func(w http.ResponseWriter, start, end int) {
			partial(w, of(start, end-1), data[start:end-1])
		}), "", 4<<20 + slack},
		{"a longer range", parts(func(w http.ResponseWriter, start, end int) {
			partial(w, of(start, end+1), data[start:end+1])
		}), "", 4<<20 + slack},
		{"garbage for a range", parts(func(w http.ResponseWriter, start, end int) {
			partial(w, "garbage", data[start:end])
		}), "", 4<<20 + slack},
		{"not satisfiable", parts(func(w http.ResponseWriter, _, _ int) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}), "", 4 << 20},
		{"parts are forbidden", parts(func(w http.ResponseWriter, _, _ int) {
			w.WriteHeader(http.StatusForbidden)
		}), "", 4 << 20},
		{"a part of a longer file", parts(func(w http.ResponseWriter, start, end int) {
			partial(w, fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(data)+1), data[start:end])
		}), "", 4<<20 + slack},
		{"garbage in a part", parts(func(w http.ResponseWriter, start, end int) {
			partial(w, of(start, end), garbage[start:end])
		}), "", 4<<20 + slack},
		{"garbage in a later part", parts(func(w http.ResponseWriter, start, end int) {
			if start < len(data)/2 {
				partial(w, of(start, end), data[start:end])
				return
			}
			partial(w, of(start, end), garbage[start:end])
		}), "", 4<<20 + slack},
		{"short parts", parts(func(w http.ResponseWriter, start, end int) {
			partial(w, of(start, end), data[start:end-1])
		}), "", 4<<20 + slack},
		{"empty parts", parts(func(w http.ResponseWriter, start, end int) {
			partial(w, of(start, end), nil)
		}), "", 4 << 20},
		{"endless parts", parts(func(w http.ResponseWriter, start, end int) {
			partial(w, of(start, end), data[start:end])
			for {
				if _, err := w.Write(garbage[:1000]); err != nil {
					return
				}
			}
		}), "", 64 << 20}, // what the connection takes; none of it is read
		{"parts at first, then all of it", parts(func(w http.ResponseWriter, start, end int) {
			if start < len(data)/2 {
				partial(w, of(start, end), data[start:end])
				return
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data)
		}), "", 4<<20 + 640<<10},
		{"garbage for all of it", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(garbage)
		}, client.ReasonBadHash, 4 << 20},
		{"garbage everywhere", func(w http.ResponseWriter, req *http.Request) {
			http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(garbage))
		}, client.ReasonBadHash, 4<<20 + slack},
		{"not there", status(404), client.ReasonServerError, 0},
		{"broken", status(500), client.ReasonServerError, 0},
		{"compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
		}, client.ReasonServerError, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, data)
			l.serve(test.fault)
			got, usage, err := l.download(t.Context(), l.delta(seed), nil)
			_, sent := l.taken()
			if len(got) > len(data) {
				t.Errorf("wrote %d bytes", len(got))
			}
			if strings.HasSuffix(test.name, "range") && usage.Requests > 3 {
				t.Errorf("usage %+v: what is not the part was read", usage)
			}
			if sent > test.sent || usage.Fetched > int64(len(data))+640<<10 {
				t.Errorf("usage %+v, %d bytes were sent", usage, sent)
			}
			if test.reason != "" {
				wantReason(t, err, test.reason)
				return
			}
			must(t, err)
			if !bytes.Equal(got, data) {
				t.Error("other bytes than were published")
			}
		})
	}
}

// What came of a part before it went wrong is used: nothing of it is fetched again
// but the chunk that was wrong.
func TestDeltaKeepsWhatWasGood(t *testing.T) {
	data := random(1, 4<<20)
	l := newLab(t, data)
	for at := 3 << 20; at < len(data); at += 100_000 {
		wrong := bytes.Clone(data)
		wrong[at] ^= 1
		l.serve(func(w http.ResponseWriter, req *http.Request) {
			content := data
			if strings.HasSuffix(req.Header.Get("Range"), fmt.Sprint("-", len(data)-1)) {
				content = wrong
			}
			http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(content))
		})
		usage := l.want(t, l.delta(data[:1<<20]), nil)
		if twice := usage.Fetched + usage.Reused - int64(len(data)); twice > chunks.MaxChunk || usage.Requests != 2 {
			t.Errorf("wrong at %d: usage %+v", at, usage)
		}
	}
}

// rotting is a seed that is not any more what it was when it was searched.
type rotting struct {
	*bytes.Reader
	searched int64 // up to here, all of it was read once
	read     func(p []byte, offset int64) (int, error)
}

func (r *rotting) ReadAt(p []byte, offset int64) (int, error) {
	if r.searched < r.Size() {
		n, err := r.Reader.ReadAt(p, offset)
		r.searched = max(r.searched, offset+int64(n))
		return n, err
	}
	return r.read(p, offset)
}

// What has changed in a seed is fetched instead, and nothing twice.
func TestDeltaRottingSeed(t *testing.T) {
	data := random(1, 2<<20)
	l := newLab(t, data)
	seed := edited(data, 5, 100)
	flip := func(every int64) func(*rotting) func(p []byte, offset int64) (int, error) {
		return func(r *rotting) func(p []byte, offset int64) (int, error) {
			return func(p []byte, offset int64) (int, error) {
				n, err := r.Reader.ReadAt(p, offset)
				for i := range p[:n] {
					if (offset+int64(i))%every == every-1 {
						p[i] ^= 1
					}
				}
				return n, err
			}
		}
	}
	for name, test := range map[string]struct {
		read func(*rotting) func(p []byte, offset int64) (int, error)
		most int // requests
	}{
		"a byte":     {flip(1_100_000), 8},
		"some":       {flip(100_000), 30},
		"everywhere": {flip(1000), 60},
		"cannot be read": {func(*rotting) func([]byte, int64) (int, error) {
			return func([]byte, int64) (int, error) { return 0, io.ErrNoProgress }
		}, 60},
		"is empty now": {func(*rotting) func([]byte, int64) (int, error) {
			return func([]byte, int64) (int, error) { return 0, io.EOF }
		}, 60},
	} {
		t.Run(name, func(t *testing.T) {
			for _, have := range [][]byte{nil, data[:12345]} {
				r := &rotting{Reader: bytes.NewReader(seed)}
				r.read = test.read(r)
				d := l.delta()
				d.Seeds = []client.Seed{{Name: "rotting", Content: r, Size: r.Size()}}
				usage := l.want(t, d, have)
				l.once(t, usage, have)
				if usage.Requests > test.most {
					t.Errorf("usage %+v", usage)
				}
			}
		})
	}
}

// A seed rots before the first part that is fetched, and the server gives no parts:
// the answer to the one is not gone on with when the other has ended the attempt.
func TestDeltaRottingSeedWithoutParts(t *testing.T) {
	data := random(1, 2<<20)
	l := newLab(t, data)
	l.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	seed := edited(data, 3, 100)
	for range 20 {
		r := &rotting{Reader: bytes.NewReader(seed)}
		r.read = func(p []byte, offset int64) (int, error) {
			n, err := r.Reader.ReadAt(p, offset)
			if at := int64(50_000) - offset; at >= 0 && at < int64(n) {
				p[at] ^= 1
			}
			return n, err
		}
		d := l.delta()
		d.Seeds = []client.Seed{{Name: "rotting", Content: r, Size: r.Size()}}
		got, _, err := l.download(t.Context(), d, nil)
		must(t, err)
		if !bytes.Equal(got, data) {
			t.Fatal("other bytes than were published")
		}
	}
}

// A seed that cannot be read to its end serves as far as it goes.
func TestDeltaUnreadableSeed(t *testing.T) {
	data := random(1, 4<<20)
	l := newLab(t, data)
	d := l.delta(data[:2<<20])
	d.Seeds[0].Size = 3 << 20 // more than there is
	if usage := l.want(t, d, nil); usage.Reused < 1<<20 {
		t.Errorf("usage %+v", usage)
	}
	d.Seeds[0].Content = badFrom{bytes.NewReader(data), 2 << 20}
	if usage := l.want(t, d, nil); usage.Reused < 1<<20 {
		t.Errorf("usage %+v", usage)
	}
}

// badFrom cannot be read from an offset on.
type badFrom struct {
	io.ReaderAt
	offset int64
}

func (b badFrom) ReadAt(p []byte, offset int64) (int, error) {
	if offset+int64(len(p)) > b.offset {
		return 0, iotest.ErrTimeout
	}
	return b.ReaderAt.ReadAt(p, offset)
}

// The map of another file of the same length leads to an error that says so,
// never to a wrong file.
func TestDeltaWrongMap(t *testing.T) {
	data := random(1, 1<<20)
	l := newLab(t, data)
	other := edited(data, 3, 100)
	l.m = mapOf(t, other)
	_, _, err := l.download(t.Context(), l.delta(other), nil)
	wantReason(t, err, client.ReasonBadHash)
	if !errors.Is(err, client.ErrDelta) || errors.Is(err, client.ErrHave) {
		t.Error(err)
	}
	// The server's bytes show it.
	_, usage, err := l.download(t.Context(), l.delta(edited(other, 1, 1)), nil)
	wantReason(t, err, client.ReasonBadHash)
	if !errors.Is(err, client.ErrDelta) {
		t.Error(err)
	}
	if usage.Fetched > 1<<20 {
		t.Errorf("usage %+v", usage)
	}
}

func TestChunkMap(t *testing.T) {
	data := random(1, 1<<20)
	m, err := mapOf(t, data).Encode()
	must(t, err)
	r := newRepo(t, "repo")
	of := r.put("releases/v1/amd64/payload", data)
	good := r.put("releases/v1/amd64/payload.chunks", m)
	bad := r.put("releases/v1/amd64/other.chunks", m[:len(m)-1])
	large := r.put("releases/v1/amd64/large.chunks", make([]byte, 1<<20))
	r.publish()
	c := refreshed(t, options(t, r, fileURL(r)))
	got, usage, err := c.ChunkMap(t.Context(), good, of)
	must(t, err)
	if got.Length() != of.Length || usage.Fetched != good.Length || usage.Requests != 1 {
		t.Errorf("a map of %d bytes, usage %+v", got.Length(), usage)
	}
	for _, a := range []metadata.Artifact{bad, large} {
		if _, _, err := c.ChunkMap(t.Context(), a, of); !errors.Is(err, chunks.ErrFormat) {
			t.Errorf("%s: %v", a.Target, err)
		}
	}
	of.Length++
	if _, _, err := c.ChunkMap(t.Context(), good, of); !errors.Is(err, chunks.ErrFormat) {
		t.Error(err)
	}
	good.Target = "releases/v2/amd64/payload.chunks"
	if _, _, err := c.ChunkMap(t.Context(), good, of); !errors.Is(err, client.ErrNotFound) {
		t.Error(err)
	}
}

// However it ends, nothing is left running and no answer open; a bubble that
// has something left fails.
func TestDeltaEnds(t *testing.T) {
	data := random(1, 4<<20)
	r := newRepo(t, "repo")
	a := r.put("releases/v1/amd64/payload", data)
	r.publish()
	m, seed := mapOf(t, data), edited(data, 20, 100)
	full := errors.New("no space left")
	for name, test := range map[string]struct {
		write func(n int) error
		rtt   time.Duration
		cut   int // so many bytes come of each answer, 0: all
		want  error
	}{
		"well":              {want: nil},
		"canceled":          {rtt: time.Second, want: context.DeadlineExceeded},
		"disk full at once": {write: func(int) error { return full }, want: full},
		"disk full later": {write: func(n int) error {
			if n > 2<<20 {
				return full
			}
			return nil
		}, want: full},
		"canceled while trying again": {cut: 1000, rtt: time.Second, want: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var open atomic.Int64
				opts := options(t, r, "http://server")
				opts.Transport = parts(r, data, func(req *http.Request, body io.Reader) io.ReadCloser {
					open.Add(1)
					time.Sleep(test.rtt)
					if test.cut > 0 {
						body = io.LimitReader(body, int64(test.cut))
					}
					return closer{body, func() { open.Add(-1) }}
				})
				c := refreshed(t, opts)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				written := 0
				d := client.Delta{Map: m, MaxRequests: 48, Seeds: []client.Seed{{Content: bytes.NewReader(seed), Size: int64(len(seed))}}}
				_, err := c.DownloadDelta(ctx, a, d, nil, writerFunc(func(p []byte) (int, error) {
					if test.write != nil {
						if err := test.write(written); err != nil {
							return 0, err
						}
					}
					if !bytes.Equal(p, data[written:][:len(p)]) {
						t.Error("wrong bytes were written")
					}
					written += len(p)
					return len(p), nil
				}), nil)
				if !errors.Is(err, test.want) {
					t.Error(err)
				}
				if n := open.Load(); n != 0 {
					t.Errorf("%d answers are left open", n)
				}
			})
		})
	}
}

// What is missing is fetched while old content is copied: here nothing is copied
// before all parts have come. A bubble in which all wait for each other fails.
func TestDeltaFetchesAhead(t *testing.T) {
	data := random(1, 4<<20)
	r := newRepo(t, "repo")
	a := r.put("releases/v1/amd64/payload", data)
	r.publish()
	const n = 10
	seed := edited(data, n, 100)
	m, old := mapOf(t, data), mapOf(t, seed)
	synctest.Test(t, func(t *testing.T) {
		var came atomic.Int64
		all := make(chan struct{})
		opts := options(t, r, "http://server")
		opts.Transport = parts(r, data, func(_ *http.Request, body io.Reader) io.ReadCloser {
			return closer{body, func() {
				if came.Add(1) == n {
					close(all)
				}
			}}
		})
		c := refreshed(t, opts)
		copied := readerAt(func(p []byte, offset int64) (int, error) {
			if len(p) > chunks.MaxChunk { // it is not just looked at
				<-all
			}
			return bytes.NewReader(seed).ReadAt(p, offset)
		})
		d := client.Delta{Map: m, MaxRequests: 48, Seeds: []client.Seed{{Content: copied, Size: int64(len(seed)), Map: func() *chunks.Map { return old }}}}
		usage, err := c.DownloadDelta(t.Context(), a, d, nil, io.Discard, nil)
		if err != nil || usage.Requests != n {
			t.Errorf("usage %+v, %v", usage, err)
		}
	})
}

type readerAt func(p []byte, offset int64) (int, error)

func (f readerAt) ReadAt(p []byte, offset int64) (int, error) { return f(p, offset) }

type closer struct {
	io.Reader
	close func()
}

func (c closer) Close() error {
	c.close()
	return nil
}

// parts is a transport that answers from r's folder, and for the payload from
// data, with parts too.
func parts(r *repo, data []byte, body func(*http.Request, io.Reader) io.ReadCloser) roundTrip {
	disk := fromDisk(r, func(_ *http.Request, body io.Reader) io.Reader { return body })
	return func(req *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(req.URL.Path, "payload") {
			return disk(req)
		}
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: req, ContentLength: int64(len(data))}
		start, end := 0, len(data)-1
		if n, _ := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &start, &end); n > 0 {
			resp.StatusCode = http.StatusPartialContent
			resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end, len(data)))
		}
		resp.Body = body(req, bytes.NewReader(data[start:end+1]))
		return resp, nil
	}
}
