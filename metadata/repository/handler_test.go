package repository

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newServer(t *testing.T, dir string) *Handler {
	t.Helper()
	h, err := NewHandler(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func get(t *testing.T, h http.Handler, method, path string, header map[string]string) *http.Response {
	t.Helper()
	req := httptest.NewRequest(method, "http://repo/", nil)
	req.URL.Path = path
	for k, v := range header {
		req.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

func TestHandlerHeaders(t *testing.T) {
	r, keys := newRepo(t)
	p := publish(t, r, keys, "1")
	kernel := "/" + targetFile(p.Release.Kernel.Target, p.Release.Kernel.SHA256)
	h := newServer(t, r.Place())
	for _, c := range []struct {
		method, path string
		status       int
		cache        string
	}{
		{"GET", "/metadata/timestamp.json", 200, "no-cache"},
		{"GET", "/metadata/1.root.json", 200, "public, max-age=31536000, immutable"},
		{"GET", "/metadata/2.snapshot.json", 200, "public, max-age=31536000, immutable"},
		{"HEAD", kernel, 200, "public, max-age=31536000, immutable"},
		{"GET", kernel, 200, "public, max-age=31536000, immutable"},
		{"GET", "/metadata/2.root.json", 404, "no-store"},
		{"GET", "/targets/nothing", 404, "no-store"},
		{"POST", "/metadata/timestamp.json", 405, ""},
		{"DELETE", kernel, 405, ""},
	} {
		res := get(t, h, c.method, c.path, nil)
		if res.StatusCode != c.status || res.Header.Get("Cache-Control") != c.cache {
			t.Errorf("%s %s: %d, Cache-Control %q; want %d, %q", c.method, c.path, res.StatusCode, res.Header.Get("Cache-Control"), c.status, c.cache)
		}
	}
	res := get(t, h, "GET", kernel, map[string]string{"Range": "bytes=7-"})
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 206 || string(body) != "1" {
		t.Errorf("range: %d %q %v", res.StatusCode, body, err)
	}
	modified := res.Header.Get("Last-Modified")
	if res := get(t, h, "GET", kernel, map[string]string{"If-Modified-Since": modified}); res.StatusCode != 304 {
		t.Errorf("If-Modified-Since: %d", res.StatusCode)
	}
}

func TestHandlerHidesTheRest(t *testing.T) {
	r, _ := newRepo(t)
	outside := filepath.Join(t.TempDir(), "secret")
	writeFile(t, outside, "secret")
	writeFile(t, filepath.Join(r.Place(), "notes.txt"), "secret")
	writeFile(t, filepath.Join(r.Place(), "metadata", ".hidden"), "secret")
	if err := os.Symlink(outside, filepath.Join(r.Place(), "metadata", "link")); err != nil {
		t.Fatal(err)
	}
	h := newServer(t, r.Place())
	for _, path := range []string{
		"/", "/metadata", "/metadata/", "/targets/", "/notes.txt", "/.tufboot/lock", "/metadata/.hidden", "/metadata/link",
		"/metadata/../notes.txt", "/metadata/../../etc/passwd", "//etc/passwd", "/metadata//timestamp.json",
		"/metadata/./timestamp.json", "/metadata/timestamp.json/", `/metadata\timestamp.json`, "/metadata/\x00", "",
	} {
		res := get(t, h, "GET", path, nil)
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 404 || strings.Contains(string(body), "secret") {
			t.Errorf("GET %q: %d %q %v", path, res.StatusCode, body, err)
		}
	}
}

func FuzzServedName(f *testing.F) {
	f.Add("/metadata/1.root.json")
	f.Add("/metadata/../x")
	f.Fuzz(func(t *testing.T, path string) {
		name, ok := servedName(path)
		if ok && (!filepath.IsLocal(name) || strings.HasPrefix(name, ".")) {
			t.Errorf("%q is served as %q", path, name)
		}
	})
}
