package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tufboot/metadata/storage"
)

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// TestHTTP reads from a static file server what a folder holds.
func TestHTTP(t *testing.T) {
	dir := t.TempDir()
	folder := storage.NewFolder(filepath.Join(dir, "a b", "os"))
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	names := []string{"metadata/1.root.json", "targets/1.0+b1/x", "targets/1.0~rc1/x", "targets/a b/%41/é/#1?x=y&z", "empty"}
	for _, base := range []string{server.URL + "/a%20b/os", server.URL + "/a b/os/"} {
		r := storage.NewHTTP(base, nil)
		for _, name := range names {
			content := strings.TrimPrefix(name, "empty")
			if err := folder.Create(t.Context(), name, []byte(content)); err != nil && !errors.Is(err, fs.ErrExist) {
				t.Fatal(err)
			}
			data, info, err := storage.ReadFile(t.Context(), r, name, 100)
			if err != nil || string(data) != content {
				t.Errorf("%s: %q, %v", name, data, err)
			}
			looked, err := r.Stat(t.Context(), name)
			if err != nil || looked != info {
				t.Errorf("%s: looked at %+v, opened %+v, %v", name, looked, info, err)
			}
			if info.Size != int64(len(content)) || info.Name != name || info.Modified.IsZero() {
				t.Errorf("%s: %+v", name, info)
			}
		}
		_, _, err := r.Open(t.Context(), "metadata/2.root.json")
		if !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		for _, name := range []string{"../x", "/x", "", "a//b"} {
			if _, _, err := r.Open(t.Context(), name); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

// TestHTTPStatus: only a file that is not there is a file that is not there.
func TestHTTPStatus(t *testing.T) {
	const root, next = "metadata/1.root.json", "metadata/timestamp.json"
	for _, test := range []struct {
		status   int
		name     string
		notExist bool
		want     string
	}{
		{http.StatusNotFound, next, true, "file does not exist"},
		{http.StatusGone, next, true, "file does not exist"},
		{http.StatusForbidden, root, true, "file does not exist"},
		{http.StatusForbidden, next, false, "access denied: the server answers 403 Forbidden"},
		{http.StatusForbidden, "targets/1.root.json", false, "access denied"},
		{http.StatusForbidden, "metadata/x.root.json", false, "access denied"},
		{http.StatusUnauthorized, root, false, "access denied: the server answers 401"},
		{http.StatusNoContent, root, false, "the server answers 204"},
		{http.StatusPartialContent, root, false, "the server answers 206"},
		{http.StatusInternalServerError, root, false, "the server answers 500"},
		{http.StatusServiceUnavailable, root, false, "the server answers 503"},
	} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.status) })
		r := storage.NewHTTP(server.URL, nil)
		_, _, err := r.Open(t.Context(), test.name)
		_, statErr := r.Stat(t.Context(), test.name)
		for _, err := range []error{err, statErr} {
			if err == nil || errors.Is(err, fs.ErrNotExist) != test.notExist ||
				!strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.name) {
				t.Errorf("%d for %s: %v", test.status, test.name, err)
			}
		}
	}
}

func TestHTTPAnswers(t *testing.T) {
	const name = "metadata/timestamp.json"
	for what, test := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"compressed": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "identity" {
				t.Error("asks for a compressed answer")
			}
			w.Header().Set("Content-Encoding", "gzip")
		}, nil},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "12345")
		}, io.ErrUnexpectedEOF},
		"cut short in chunks": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "12345")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, io.ErrUnexpectedEOF},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}, storage.ErrStalled},
		"half an answer": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "12345")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, storage.ErrStalled},
	} {
		t.Run(what, func(t *testing.T) {
			r := storage.NewHTTP(serve(t, test.answer).URL, nil)
			r.SetPatience(50 * time.Millisecond)
			_, _, err := storage.ReadFile(t.Context(), r, name, 100)
			if err == nil || (test.want != nil && !errors.Is(err, test.want)) || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v", err)
			}
		})
	}
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		fmt.Fprint(w, "12345")
	})
	_, info, err := storage.ReadFile(t.Context(), storage.NewHTTP(server.URL, nil), name, 100)
	if err != nil || info.Size != -1 {
		t.Errorf("a size that is not said: %+v, %v", info, err)
	}
	_, _, err = storage.ReadFile(t.Context(), storage.NewHTTP(server.URL, nil), name, 4)
	if !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("more than is allowed: %v", err)
	}
}

func TestHTTPCancelled(t *testing.T) {
	asked := make(chan struct{})
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, _, err := storage.NewHTTP(server.URL, nil).Open(ctx, "x")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestHTTPRedirect: to another host, but never out of TLS.
func TestHTTPRedirect(t *testing.T) {
	plain := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/loop") {
			http.Redirect(w, r, "/loop/x", http.StatusFound)
		} else if strings.HasPrefix(r.URL.Path, "/plain") {
			http.Redirect(w, r, plain.URL+"/x", http.StatusFound)
		}
		fmt.Fprint(w, r.URL.Path)
	}))
	defer secure.Close()
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secure.URL+"/y", http.StatusMovedPermanently)
	})
	client := secure.Client()
	data, _, err := storage.ReadFile(t.Context(), storage.NewHTTP(elsewhere.URL, client), "x", 10)
	if err != nil || string(data) != "/y" {
		t.Errorf("%q, %v", data, err)
	}
	for _, folder := range []string{"/plain", "/loop"} {
		_, _, err = storage.ReadFile(t.Context(), storage.NewHTTP(secure.URL+folder, client), "x", 10)
		if err == nil || !strings.Contains(err.Error(), "refused to follow a redirect") {
			t.Errorf("%s: %v", folder, err)
		}
	}
	if client.CheckRedirect != nil {
		t.Error("the caller's client has changed")
	}
}

func TestHTTPPassword(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if name, password, ok := r.BasicAuth(); !ok || name != "me" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	with := func(password string) storage.Reader {
		return storage.NewHTTP(strings.Replace(server.URL, "://", "://me:"+password+"@", 1), nil)
	}
	if _, err := with("secret").Stat(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	_, err := with("wrong").Stat(t.Context(), "x")
	server.Close()
	_, goneErr := with("wrong").Stat(t.Context(), "x")
	for _, err := range []error{err, goneErr} {
		if err == nil || strings.Contains(err.Error(), "wrong") {
			t.Errorf("got %v", err)
		}
	}
	_, err = storage.NewHTTP("ftp://x", nil).Stat(t.Context(), "x")
	if err == nil || !strings.Contains(err.Error(), "not the address of a web server") {
		t.Errorf("got %v", err)
	}
}
