package client_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tufboot/internal/console"
	"tufboot/metadata/client"
)

// failing answers the first n requests for suffix with fail.
func failing(n int, suffix string, fail http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	var left atomic.Int64 // requests come over several connections
	left.Store(int64(n))
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) || left.Add(-1) < 0 {
			return false
		}
		fail(w, r)
		return true
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// cut sends half of the file and closes the connection.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte("{"))
	panic(http.ErrAbortHandler)
}

func TestTransientFailuresAreTriedAgain(t *testing.T) {
	r := newRepo(t, "repo")
	s := serve(t, r)
	s.Config.ErrorLog = nil
	for name, fail := range map[string]http.HandlerFunc{
		"408": status(408), "425": status(425), "429": status(429),
		"500": status(500), "502": status(502), "503": status(503), "504": status(504),
		"reset": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cut":   cut,
	} {
		t.Run(name, func(t *testing.T) {
			s.setFault(failing(3, "/timestamp.json", fail))
			opts := options(t, r, s.URL)
			// On a kept connection net/http itself asks once more.
			opts.Transport = &http.Transport{DisableKeepAlives: true}
			c, err := client.New(opts)
			must(t, err)
			waits := c.NoWait()
			must(t, c.Refresh(t.Context()))
			if *waits != 3 {
				t.Errorf("waited %d times, want 3", *waits)
			}
			s.setFault(failing(1000, "/timestamp.json", fail))
			s.taken()
			err = c.Refresh(t.Context())
			if console.ExitCode(err) != console.ExitFailed || console.Hint(err) == "" {
				t.Errorf("a lasting failure: %v", err)
			}
			if n := count(s.taken(), "/metadata/timestamp.json"); n != 5 {
				t.Errorf("asked %d times, want 5", n)
			}
		})
	}
}

func count(requests []string, path string) int {
	n := 0
	for _, r := range requests {
		if r == path {
			n++
		}
	}
	return n
}

func TestLastingFailuresAreNotTriedAgain(t *testing.T) {
	r := newRepo(t, "repo")
	s := serve(t, r)
	for _, code := range []int{400, 401, 403, 404, 407, 410, 501, 204, 206, 304} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s.setFault(on("/timestamp.json", status(code)))
			s.taken()
			wantReason(t, refresh(t, options(t, r, s.URL)), client.ReasonServerError)
			if got := s.taken(); len(got) != 2 {
				t.Errorf("requests %q, want two", got)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	r := newRepo(t, "repo")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	c, err := client.New(options(t, r, "http://user:secret@"+address))
	must(t, err)
	waits := c.NoWait()
	err = c.Refresh(t.Context())
	wantReason(t, err, client.ReasonUnreachable)
	if *waits != 4 {
		t.Errorf("waited %d times, want 4", *waits)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in %q", err)
	}
}

func TestFileServer(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, "file:///nonexistent/folder")
	wantReason(t, refresh(t, opts), client.ReasonUnreachable)
	opts.Server = "file://localhost" + r.dir
	must(t, refresh(t, opts))

	timestamp := r.metadata("timestamp.json")
	must(t, os.Remove(timestamp))
	wantReason(t, refresh(t, opts), client.ReasonServerError)
	must(t, os.Mkdir(timestamp, 0o700))
	wantReason(t, refresh(t, opts), client.ReasonServerError)
	must(t, os.Remove(timestamp))
	must(t, syscall.Mkfifo(timestamp, 0o600))
	wantReason(t, refresh(t, opts), client.ReasonServerError)
}

func TestRequestsSayWhoAsks(t *testing.T) {
	r := newRepo(t, "repo")
	s := serve(t, r)
	s.setFault(func(w http.ResponseWriter, req *http.Request) bool {
		if req.UserAgent() != "tufboot/1.2" || req.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s: User-Agent %q, Accept-Encoding %q", req.URL, req.UserAgent(), req.Header["Accept-Encoding"])
		}
		return false
	})
	opts := options(t, r, s.URL)
	opts.UserAgent = "tufboot/1.2"
	must(t, refresh(t, opts))
}

// A small compressed answer could unpack to any size.
func TestCompressedAnswerIsRefused(t *testing.T) {
	r := newRepo(t, "repo")
	s := serve(t, r)
	s.setFault(on("/timestamp.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(r.read("timestamp.json"))
		_ = z.Close()
	}))
	wantReason(t, refresh(t, options(t, r, s.URL)), client.ReasonServerError)
}

// A compressed page that says "not found" is an answer like any other.
func TestCompressedErrorPage(t *testing.T) {
	r := newRepo(t, "repo")
	s := serve(t, r)
	s.setFault(on(".root.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write(make([]byte, 100_000))
	}))
	must(t, refresh(t, options(t, r, s.URL)))
}

func TestEndlessMetadata(t *testing.T) {
	r := newRepo(t, "repo")
	s := serve(t, r)
	sent := make(chan int, 1)
	s.setFault(on("/timestamp.json", func(w http.ResponseWriter, _ *http.Request) {
		for n := 0; ; n += 4096 {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				sent <- n
				return
			}
		}
	}))
	wantReason(t, refresh(t, options(t, r, s.URL)), client.ReasonBadLength)
	if n := <-sent; n > 64<<20 { // buffers of the network included
		t.Errorf("took %d bytes of it", n)
	}
}

func TestRedirects(t *testing.T) {
	r := newRepo(t, "repo")
	s := serve(t, r)
	files := http.FileServer(http.Dir(r.dir))
	secure := httptest.NewTLSServer(files)
	t.Cleanup(secure.Close)
	entry := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, s.URL+req.URL.Path, http.StatusFound)
	}))
	t.Cleanup(entry.Close)
	redirect := func(to string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, req *http.Request) bool {
			http.Redirect(w, req, to+req.URL.Path, http.StatusFound)
			return true
		}
	}

	t.Run("to https", func(t *testing.T) {
		s.setFault(redirect(secure.URL))
		opts := options(t, r, s.URL)
		opts.Transport = secure.Client().Transport
		must(t, refresh(t, opts))
	})
	t.Run("from https to http", func(t *testing.T) {
		s.setFault(nil)
		opts := options(t, r, entry.URL)
		opts.Transport = entry.Client().Transport
		s.taken()
		wantReason(t, refresh(t, opts), client.ReasonServerError)
		if got := s.taken(); len(got) != 0 {
			t.Errorf("asked %q", got)
		}
	})
	t.Run("in a circle", func(t *testing.T) {
		s.setFault(redirect(s.URL))
		s.taken()
		wantReason(t, refresh(t, options(t, r, s.URL)), client.ReasonServerError)
		if got := len(s.taken()); got != 6 {
			t.Errorf("%d requests, want 6", got)
		}
	})
	t.Run("to another scheme", func(t *testing.T) {
		s.setFault(redirect("ftp://host"))
		wantReason(t, refresh(t, options(t, r, s.URL)), client.ReasonServerError)
	})
}

func TestUntrustedCertificate(t *testing.T) {
	r := newRepo(t, "repo")
	s := httptest.NewUnstartedServer(http.FileServer(http.Dir(r.dir)))
	var asked atomic.Int32
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			asked.Add(1)
		}
	}
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	err := refresh(t, options(t, r, s.URL))
	wantReason(t, err, client.ReasonUnreachable)
	if !strings.Contains(console.Hint(err), "certificate") || asked.Load() != 1 {
		t.Errorf("hint %q after %d connections", console.Hint(err), asked.Load())
	}
	opts := options(t, r, s.URL)
	opts.Transport = s.Client().Transport
	must(t, refresh(t, opts))
}

// Names are escaped segment by segment, "+" included, below any address.
func TestAddresses(t *testing.T) {
	r := newRepo(t, "repo")
	r.release("v1.2+k8s~1", "stable")
	var uris []string
	files := http.StripPrefix("/a folder/x%2Fy", http.FileServer(http.Dir(r.dir)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		uris = append(uris, req.RequestURI)
		req.URL.Path = strings.Replace(req.URL.Path, "/a folder/x/y", "/a folder/x%2Fy", 1)
		req.URL.RawPath = ""
		files.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	opts := options(t, r, s.URL+"/a%20folder/x%2Fy/")
	c := refreshed(t, opts)
	resolved, err := c.Resolve(t.Context(), "stable", "amd64")
	must(t, err)
	must(t, c.Download(t.Context(), resolved.Release.Kernel, nil, io.Discard, nil))
	last := uris[len(uris)-1]
	if want := "/a%20folder/x%2Fy/targets/releases/v1.2%2Bk8s~1/amd64/"; !strings.HasPrefix(last, want) {
		t.Errorf("asked for %s, want %s...", last, want)
	}
}

// roundTrip is a transport in memory, for tests in a bubble of fake time.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// fromDisk answers from the repository, with a body that slow may replace.
func fromDisk(r *repo, slow func(*http.Request, io.Reader) io.Reader) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody, Request: req, ContentLength: -1}
		f, err := os.Open(filepath.Join(r.dir, filepath.FromSlash(req.URL.Path)))
		if err != nil {
			return resp, nil //nolint:nilerr // the answer says it
		}
		resp.StatusCode = 200
		resp.Body = struct {
			io.Reader
			io.Closer
		}{slow(req, f), f}
		return resp, nil
	}
}

// dripping gives so many bytes at a time, each time after a pause. It ends with
// the request, as a connection does.
type dripping struct {
	ctx   context.Context
	r     io.Reader
	bytes int
	pause time.Duration
}

func (d *dripping) Read(p []byte) (int, error) {
	select {
	case <-time.After(d.pause):
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
	return d.r.Read(p[:min(d.bytes, len(p))])
}

func TestStalls(t *testing.T) {
	r := newRepo(t, "repo")
	tests := []struct {
		name   string
		bytes  int
		pause  time.Duration
		file   string
		reason string
	}{
		{"timestamp never comes", 1, time.Hour, "timestamp.json", client.ReasonStalled},
		{"timestamp drips", 1, time.Second, "timestamp.json", client.ReasonStalled},
		{"timestamp is slow", 100, time.Second, "timestamp.json", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := options(t, r, "http://server")
				opts.Transport = fromDisk(r, func(req *http.Request, body io.Reader) io.Reader {
					if strings.HasSuffix(req.URL.Path, test.file) {
						return &dripping{req.Context(), body, test.bytes, test.pause}
					}
					return body
				})
				err := refresh(t, opts)
				if test.reason == "" {
					must(t, err)
					return
				}
				wantReason(t, err, test.reason)
			})
		})
	}
}

// Metadata must be complete within the request timeout, however steadily it comes.
func TestSlowMetadata(t *testing.T) {
	r := newRepo(t, "repo")
	synctest.Test(t, func(t *testing.T) {
		opts := options(t, r, "http://server")
		opts.RequestTimeout = 10 * time.Second
		opts.Transport = fromDisk(r, func(req *http.Request, body io.Reader) io.Reader {
			return &dripping{req.Context(), body, 10, time.Second}
		})
		start := time.Now()
		wantReason(t, refresh(t, opts), client.ReasonStalled)
		if took := time.Since(start); took != 5*opts.RequestTimeout {
			t.Errorf("took %v, want five times %v", took, opts.RequestTimeout)
		}
	})
}

// A server that accepts a request and says nothing.
func TestSilence(t *testing.T) {
	r := newRepo(t, "repo")
	synctest.Test(t, func(t *testing.T) {
		opts := options(t, r, "http://server")
		opts.RequestTimeout = 10 * time.Second
		opts.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		start := time.Now()
		wantReason(t, refresh(t, opts), client.ReasonStalled)
		if took := time.Since(start); took != 5*opts.RequestTimeout {
			t.Errorf("took %v, want five times %v", took, opts.RequestTimeout)
		}
	})
}

// The caller's context ends a refresh at once, wherever it is, and is what the
// error says.
func TestContext(t *testing.T) {
	r := newRepo(t, "repo")
	for _, file := range []string{"2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			opts := options(t, r, "http://server")
			disk := fromDisk(r, func(_ *http.Request, body io.Reader) io.Reader { return body })
			opts.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
				if strings.HasSuffix(req.URL.Path, file) {
					cancel()
					<-req.Context().Done()
					return nil, req.Context().Err()
				}
				return disk(req)
			})
			start := time.Now()
			err := open(t, opts).Refresh(ctx)
			var network *client.NetworkError
			if !errors.Is(err, context.Canceled) || errors.As(err, &network) {
				t.Errorf("%s: %v", file, err)
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("%s: took %v", file, took)
			}
		})
	}
}

// The pauses grow, are spread, and follow what the server asks for within reason.
func TestBackoff(t *testing.T) {
	r := newRepo(t, "repo")
	pauses := func(t *testing.T, retryAfter string) (all []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			opts := options(t, r, "http://server")
			last := time.Now()
			opts.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
				all = append(all, time.Since(last))
				last = time.Now()
				header := http.Header{"Retry-After": {retryAfter}}
				return &http.Response{StatusCode: 503, Header: header, Body: http.NoBody, Request: req}, nil
			})
			c, err := client.New(opts)
			must(t, err)
			wantReason(t, c.Refresh(t.Context()), client.ReasonServerError)
		})
		return all[1:]
	}
	first := pauses(t, "")
	for i, got := range first {
		most := 500 * time.Millisecond << i
		if got < most/2 || got > most {
			t.Errorf("pause %d is %v, want %v to %v", i, got, most/2, most)
		}
	}
	if slices.Equal(first, pauses(t, "")) {
		t.Error("the pauses are the same each time: a fleet would come back as one")
	}
	if got := pauses(t, "20")[0]; got < 20*time.Second || got > 30*time.Second {
		t.Errorf("pause %v after Retry-After: 20", got)
	}
	if got := pauses(t, "86400")[0]; got < 30*time.Second || got > 45*time.Second {
		t.Errorf("pause %v after Retry-After: 86400", got)
	}
}
