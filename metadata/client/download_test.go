package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/client"
)

// payloadRepo is a repository with one target of n pseudo-random bytes.
func payloadRepo(t testing.TB, n int) (*repo, metadata.Artifact, []byte) {
	t.Helper()
	r := newRepo(t, "repo")
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	a := r.put("releases/v1/amd64/payload", data)
	r.publish()
	return r, a, data
}

func TestDownload(t *testing.T) {
	r, a, data := payloadRepo(t, 300_000)
	flipped := bytes.Clone(data)
	flipped[1000] ^= 1
	unsized := func(body []byte) http.HandlerFunc { // chunked: no length is said
		return func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = w.Write(body)
		}
	}
	sized := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body)
		}
	}
	part := func(contentRange string) http.HandlerFunc { // only for requests with a range
		return func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Range") == "" {
				_, _ = w.Write(data)
				return
			}
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[:1000])
		}
	}
	const some = 100_000
	tests := []struct {
		name   string
		fault  http.HandlerFunc // nil: a server that works
		have   []byte
		reason string
		blame  bool // ErrHave
		quiet  bool // nothing may have been written
	}{
		{"all of it", nil, nil, "", false, false},
		{"nothing held", nil, []byte{}, "", false, false},
		{"one byte held", nil, data[:1], "", false, false},
		{"some held", nil, data[:some], "", false, false},
		{"all but one byte held", nil, data[:len(data)-1], "", false, false},
		{"all held", status(500), data, "", false, true},
		{"wrong bytes held", nil, flipped[:some], client.ReasonBadHash, true, false},
		{"all held, wrong", nil, flipped, client.ReasonBadHash, true, true},
		{"too many held", nil, append(bytes.Clone(data), 0), client.ReasonBadLength, true, true},

		{"no ranges, nothing held", sized(data), nil, "", false, false},
		{"no ranges, some held", sized(data), data[:some], "", false, false},
		{"no ranges, wrong bytes held", sized(data), flipped[:some], client.ReasonBadHash, true, true},
		{"no ranges, no length", unsized(data), data[:some], "", false, false},
		{"another range", part("bytes 5-1004/300000"), data[:some], "", false, false},
		{"range of nothing", part("bytes */300000"), data[:some], "", false, false},
		{"range without an end", part("bytes 100000-/300000"), data[:some], "", false, false},
		{"range is garbage", part("garbage"), data[:some], "", false, false},
		{"range is missing", part(""), data[:some], "", false, false},
		{"range of a longer file", part("bytes 100000-100999/300001"), data[:some], client.ReasonBadLength, true, true},
		{"range without a total", part("bytes 100000-100999/*"), data[:some], client.ReasonBadHash, true, false},
		{"range not satisfiable", func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			_, _ = w.Write(data)
		}, data[:some], "", false, false},
		{"part though none was asked for", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/300000")
			w.WriteHeader(http.StatusPartialContent)
		}, nil, client.ReasonServerError, false, true},

		{"flipped bit", sized(flipped), nil, client.ReasonBadHash, false, false},
		{"one byte short", sized(data[:len(data)-1]), nil, client.ReasonBadLength, false, true},
		{"one byte more", sized(append(bytes.Clone(data), 0)), nil, client.ReasonBadLength, false, true},
		{"empty", sized(nil), nil, client.ReasonBadLength, false, true},
		{"short, no length", unsized(data[:some]), nil, client.ReasonBadLength, false, false},
		{"short of what is held", unsized(data[:some-1]), data[:some], client.ReasonBadLength, true, true},
		{"long, no length", unsized(append(bytes.Clone(data), 0)), nil, client.ReasonBadLength, false, false},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(data); err != nil {
					return
				}
			}
		}, nil, client.ReasonBadLength, false, false},
		{"not there", status(404), nil, client.ReasonServerError, false, true},
		{"forbidden", status(403), nil, client.ReasonServerError, false, true},
		{"broken", status(500), nil, client.ReasonServerError, false, true},
		{"compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
		}, nil, client.ReasonServerError, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, r)
			c := refreshed(t, options(t, r, s.URL))
			if test.fault != nil {
				s.setFault(on("payload", test.fault))
			}
			var have io.Reader
			if test.have != nil {
				have = bytes.NewReader(test.have)
			}
			var got bytes.Buffer
			last := int64(-1)
			err := c.Download(t.Context(), a, have, &got, func(done int64) {
				if done < last || done > a.Length {
					t.Errorf("progress from %d to %d", last, done)
				}
				last = done
			})
			if test.quiet && got.Len() > 0 || len(test.have)+got.Len() > max(len(data), len(test.have)) {
				t.Errorf("wrote %d bytes", got.Len())
			}
			if errors.Is(err, client.ErrHave) != test.blame {
				t.Errorf("%v: blames what was held: %t", err, !test.blame)
			}
			if test.reason != "" {
				wantReason(t, err, test.reason)
				return
			}
			must(t, err)
			if !bytes.Equal(append(bytes.Clone(test.have), got.Bytes()...), data) || last != a.Length {
				t.Errorf("other bytes than were published, %d at last", last)
			}
		})
	}
}

// Connections that break again and again: each try goes on where the last one
// stopped, and the hash is of all of it.
func TestDownloadGoesOn(t *testing.T) {
	r, a, data := payloadRepo(t, 1_000_000)
	const piece = 70_000
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("server without ranges %t", whole), func(t *testing.T) {
			s := serve(t, r)
			c := refreshed(t, options(t, r, s.URL))
			var asked []string
			sent := 0
			s.setFault(on("payload", func(w http.ResponseWriter, req *http.Request) {
				asked = append(asked, req.Header.Get("Range"))
				start, end := 0, len(data)
				if whole {
					w.Header().Set("Content-Length", fmt.Sprint(len(data)))
				} else {
					_, _ = fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &start)
					w.Header().Set("Content-Length", fmt.Sprint(len(data)-start))
					if start > 0 {
						w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, end))
						w.WriteHeader(http.StatusPartialContent)
					}
				}
				sent += piece
				if sent < end {
					_, _ = w.Write(data[start:sent])
					panic(http.ErrAbortHandler)
				}
				_, _ = w.Write(data[start:])
			}))
			var got bytes.Buffer
			must(t, c.Download(t.Context(), a, nil, &got, nil))
			if !bytes.Equal(got.Bytes(), data) {
				t.Error("other bytes than were published")
			}
			if len(asked) != 15 || asked[0] != "" || asked[14] != "bytes=980000-" {
				t.Errorf("ranges %q", asked)
			}
		})
	}
}

// Without progress a download gives up.
func TestDownloadGivesUp(t *testing.T) {
	r, a, _ := payloadRepo(t, 1_000_000)
	s := serve(t, r)
	c := refreshed(t, options(t, r, s.URL))
	s.setFault(on("payload", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	s.taken()
	wantReason(t, c.Download(t.Context(), a, nil, io.Discard, nil), client.ReasonStalled)
	if got := len(s.taken()); got != 5 {
		t.Errorf("%d requests, want 5", got)
	}
}

func TestDownloadStalls(t *testing.T) {
	r, a, data := payloadRepo(t, 200_000)
	synctest.Test(t, func(t *testing.T) {
		opts := options(t, r, "http://server")
		tries := 0
		opts.Transport = fromDisk(r, func(req *http.Request, body io.Reader) io.Reader {
			if !strings.HasSuffix(req.URL.Path, "payload") {
				return body
			}
			switch tries++; tries {
			case 1: // stops in the middle
				return io.MultiReader(io.LimitReader(body, 100_000), &dripping{req.Context(), body, 1, time.Hour})
			case 2: // drips: 10 bytes a second
				return &dripping{req.Context(), body, 10, time.Second}
			}
			return &dripping{req.Context(), body, 1024, 14 * time.Second} // slow, but it comes
		})
		var got bytes.Buffer
		c := refreshed(t, opts)
		must(t, c.Download(t.Context(), a, nil, &got, nil))
		if !bytes.Equal(got.Bytes(), data) || tries != 3 {
			t.Errorf("%d tries", tries)
		}
		tries = 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Download(ctx, a, nil, io.Discard, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller without patience: %v", err)
		}
	})
}

// A server that accepts a request for a payload and says nothing.
func TestDownloadSilence(t *testing.T) {
	r, a, _ := payloadRepo(t, 1000)
	synctest.Test(t, func(t *testing.T) {
		opts := options(t, r, "http://server")
		disk := fromDisk(r, func(_ *http.Request, body io.Reader) io.Reader { return body })
		opts.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
			if !strings.HasSuffix(req.URL.Path, "payload") {
				return disk(req)
			}
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		c := refreshed(t, opts)
		start := time.Now()
		wantReason(t, c.Download(t.Context(), a, nil, io.Discard, nil), client.ReasonStalled)
		if took := time.Since(start); took != 5*30*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A server that has sent everything but does not end its answer.
func TestDownloadWithoutEnd(t *testing.T) {
	r, a, data := payloadRepo(t, 200_000)
	synctest.Test(t, func(t *testing.T) {
		opts := options(t, r, "http://server")
		tries := 0
		opts.Transport = fromDisk(r, func(req *http.Request, body io.Reader) io.Reader {
			if !strings.HasSuffix(req.URL.Path, "payload") {
				return body
			}
			tries++
			return io.MultiReader(body, &dripping{req.Context(), body, 1, time.Hour})
		})
		var got bytes.Buffer
		c, err := client.New(opts) // this one waits
		must(t, err)
		must(t, c.Refresh(t.Context()))
		start := time.Now()
		must(t, c.Download(t.Context(), a, nil, &got, nil))
		if took := time.Since(start); !bytes.Equal(got.Bytes(), data) || tries != 1 || took != 30*time.Second {
			t.Errorf("%d tries in %v", tries, took)
		}
	})
}

// A disk that is slow to write is not the server's fault: nothing is asked for
// twice because of it.
func TestDownloadToSlowDisk(t *testing.T) {
	r, a, data := payloadRepo(t, 400_000)
	synctest.Test(t, func(t *testing.T) {
		opts := options(t, r, "http://server")
		tries := 0
		opts.Transport = fromDisk(r, func(req *http.Request, body io.Reader) io.Reader {
			if !strings.HasSuffix(req.URL.Path, "payload") {
				return body
			}
			tries++
			return readerFunc(func(p []byte) (int, error) { // as a connection does
				if err := req.Context().Err(); err != nil {
					return 0, err
				}
				return body.Read(p)
			})
		})
		var got bytes.Buffer
		c := refreshed(t, opts)
		must(t, c.Download(t.Context(), a, nil, writerFunc(func(p []byte) (int, error) {
			time.Sleep(time.Hour)
			return got.Write(p)
		}), nil))
		if !bytes.Equal(got.Bytes(), data) || tries != 1 {
			t.Errorf("%d tries", tries)
		}
	})
}

// A full disk is not the server's fault, and asking again does not help.
func TestDownloadWriteError(t *testing.T) {
	r, a, _ := payloadRepo(t, 200_000)
	s := serve(t, r)
	c := refreshed(t, options(t, r, s.URL))
	full := errors.New("no space left")
	s.taken()
	err := c.Download(t.Context(), a, nil, writerFunc(func([]byte) (int, error) { return 0, full }), nil)
	if !errors.Is(err, full) {
		t.Error(err)
	}
	if got := s.taken(); len(got) != 1 {
		t.Errorf("requests %q", got)
	}
	unreadable := errors.New("unreadable")
	err = c.Download(t.Context(), a, iotest.ErrReader(unreadable), io.Discard, nil)
	if !errors.Is(err, unreadable) {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// The signed metadata is the authority, not the artifact that the caller has.
func TestDownloadArtifactMustAgree(t *testing.T) {
	r, a, _ := payloadRepo(t, 1000)
	c := refreshed(t, options(t, r, fileURL(r)))
	longer, other := a, a
	longer.Length++
	other.SHA256 = strings.Repeat("0", 64)
	wantReason(t, c.Download(t.Context(), longer, nil, io.Discard, nil), client.ReasonBadLength)
	wantReason(t, c.Download(t.Context(), other, nil, io.Discard, nil), client.ReasonBadHash)
	for _, name := range []string{"", "../x", "/etc/passwd", "a//b", "a/../b"} {
		other.Target = name
		if err := c.Download(t.Context(), other, nil, io.Discard, nil); !errors.Is(err, metadata.ErrFormat) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Every hash that was signed must match, not SHA-256 alone.
func TestDownloadChecksEveryHash(t *testing.T) {
	r, a, data := payloadRepo(t, 1000)
	sum := sha512.Sum512(data)
	r.targets.Signed.Targets[a.Target].Hashes["sha512"] = sum[:]
	r.publish()
	must(t, refreshed(t, options(t, r, fileURL(r))).Download(t.Context(), a, nil, io.Discard, nil))
	sum[0] ^= 1
	r.targets.Signed.Targets[a.Target].Hashes["sha512"] = sum[:]
	r.publish()
	err := refreshed(t, options(t, r, fileURL(r))).Download(t.Context(), a, nil, io.Discard, nil)
	wantReason(t, err, client.ReasonBadHash)
}

// The same for files in a folder.
func TestDownloadFromFolder(t *testing.T) {
	r, a, data := payloadRepo(t, 300_000)
	c := refreshed(t, options(t, r, fileURL(r)))
	download := func(have []byte) ([]byte, error) {
		var got bytes.Buffer
		err := c.Download(t.Context(), a, bytes.NewReader(have), &got, nil)
		return got.Bytes(), err
	}
	for _, n := range []int{0, 1, 299_999, 300_000} {
		got, err := download(data[:n])
		must(t, err)
		if !bytes.Equal(got, data[n:]) {
			t.Errorf("other bytes from %d on", n)
		}
	}
	must(t, os.WriteFile(r.stored(a), data[:1000], 0o600))
	_, err := download(nil)
	wantReason(t, err, client.ReasonBadLength)
	_, err = download(data[:2000])
	wantReason(t, err, client.ReasonBadLength)
	data[7] ^= 1
	must(t, os.WriteFile(r.stored(a), data, 0o600))
	_, err = download(nil)
	wantReason(t, err, client.ReasonBadHash)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Download(ctx, a, nil, io.Discard, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	must(t, os.Remove(r.stored(a)))
	_, err = download(nil)
	wantReason(t, err, client.ReasonServerError)
}

// zeros is a payload of any size that needs no room.
type zeros int64

func (z *zeros) Read(p []byte) (int, error) {
	n := min(int64(len(p)), int64(*z))
	if n == 0 {
		return 0, io.EOF
	}
	clear(p[:n])
	*z -= zeros(n)
	return int(n), nil
}

func sumOfZeros(t testing.TB, n int64) []byte {
	t.Helper()
	h := sha256.New()
	z := zeros(n)
	_, err := io.Copy(h, &z)
	must(t, err)
	return h.Sum(nil)
}
