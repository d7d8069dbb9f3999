package client_test

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tufboot/internal/console"
	"tufboot/metadata/client"
)

// server serves a repository over HTTP, counts requests and can be told to
// misbehave.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
	opened   int
	// fault answers a request in place of the file server and says so.
	fault func(w http.ResponseWriter, r *http.Request) bool
}

func serve(t testing.TB, r *repo) *server {
	t.Helper()
	s := &server{}
	files := http.FileServer(http.Dir(r.dir))
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, req.URL.Path)
		fault := s.fault
		s.mu.Unlock()
		if fault == nil || !fault(w, req) {
			files.ServeHTTP(w, req)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.opened++
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// connections returns how many were made since the last call.
func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.opened
	s.opened = 0
	return n
}

func (s *server) setFault(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// taken returns the requests since the last call.
func (s *server) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.requests
	s.requests = nil
	return taken
}

// on answers requests whose path ends with suffix.
func on(suffix string, h http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		h(w, r)
		return true
	}
}

// options are a client's for r, with the built-in root version 1 and a clock
// that stands at the epoch.
func options(t testing.TB, r *repo, serverURL string) client.Options {
	t.Helper()
	return client.Options{
		Server: serverURL, Root: r.roots[0], Dir: filepath.Join(t.TempDir(), "metadata"),
		Now: func() time.Time { return epoch },
	}
}

func fileURL(r *repo) string { return "file://" + r.dir }

// open returns a client that does not wait before it tries again.
func open(t testing.TB, opts client.Options) *client.Client {
	t.Helper()
	c, err := client.New(opts)
	must(t, err)
	c.NoWait()
	return c
}

// refresh runs one refresh as a process of its own would.
func refresh(t testing.TB, opts client.Options) error {
	t.Helper()
	return open(t, opts).Refresh(t.Context())
}

// wantReason fails the test unless err has the reason code, the exit code that
// goes with it, and a hint.
func wantReason(t testing.TB, err error, reason string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", reason)
	}
	exit := console.ExitVerification
	switch reason {
	case client.ReasonUnreachable, client.ReasonServerError, client.ReasonStalled:
		exit = console.ExitFailed
	case client.ReasonNotFound:
		exit = console.ExitRefused
		if !errors.Is(err, client.ErrNotFound) {
			t.Errorf("%v: is not ErrNotFound", err)
		}
	}
	if got := console.ReasonCode(err); got != reason {
		t.Errorf("%v: reason %s, want %s", err, got, reason)
	}
	if got := console.ExitCode(err); got != exit {
		t.Errorf("%v: exit code %d, want %d", err, got, exit)
	}
	if console.Hint(err) == "" {
		t.Errorf("%v: no hint", err)
	}
}

// folder returns the kept files' content, temporary ones included.
func folder(t testing.TB, dir string) map[string]string {
	t.Helper()
	content := make(map[string]string)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return content
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		content[name] = string(data)
		return err
	})
	must(t, err)
	return content
}

// restore makes dir hold exactly the given files.
func restore(t testing.TB, dir string, content map[string]string) {
	t.Helper()
	must(t, os.RemoveAll(dir))
	must(t, os.MkdirAll(dir, 0o700))
	for _, name := range sortedKeys(content) {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(content[name]), 0o600))
	}
}

func sortedKeys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
