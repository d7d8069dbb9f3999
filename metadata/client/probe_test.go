package client_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"tufboot/metadata/client"
)

// TestProbe asks servers of all kinds whether they have an artifact.
func TestProbe(t *testing.T) {
	r, a, data := payloadRepo(t, 300_000)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	part := func(contentRange string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[:1])
		}
	}
	files := http.FileServer(http.Dir(r.dir))
	toParts := func(answer http.HandlerFunc) http.HandlerFunc { // all of it is had
		return func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Range") == "" {
				files.ServeHTTP(w, req)
				return
			}
			answer(w, req)
		}
	}
	whole := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body)
		}
	}
	for name, test := range map[string]struct {
		answer   http.HandlerFunc // nil: the file server's
		reason   string           // "": it is there
		requests int
	}{
		"there":                   {nil, "", 1},
		"there, length not said":  {part("bytes 0-0/*"), "", 1},
		"whole":                   {whole(data), "", 1},
		"whole, length not said":  {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, "", 1},
		"a part called the whole": {toParts(whole(data[:1])), "", 2},
		"another part":            {toParts(part("bytes 5-5/300000")), "", 2},
		"no such part":            {toParts(status(http.StatusRequestedRangeNotSatisfiable)), "", 2},
		"parts not allowed":       {toParts(status(http.StatusMethodNotAllowed)), "", 2},
		"parts not implemented":   {toParts(status(http.StatusNotImplemented)), "", 2},
		"parts forbidden":         {toParts(status(http.StatusForbidden)), "", 2},
		"missing":                 {status(http.StatusNotFound), client.ReasonServerError, 2},
		"hidden":                  {status(http.StatusForbidden), client.ReasonServerError, 2},
		"gone":                    {status(http.StatusGone), client.ReasonServerError, 2},
		"overloaded":              {status(http.StatusServiceUnavailable), client.ReasonServerError, 5},
		"shorter":                 {whole(data[:299_999]), client.ReasonBadLength, 2},
		"a part of another":       {toParts(part("bytes 0-0/299999")), "", 2},
		"empty":                   {whole(nil), client.ReasonBadLength, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, r)
			c := open(t, options(t, r, s.URL))
			must(t, c.Refresh(t.Context()))
			s.taken()
			if test.answer != nil {
				s.setFault(on(".payload", test.answer))
			}
			err := c.Probe(t.Context(), a)
			if n := len(s.taken()); n != test.requests {
				t.Errorf("%d requests, want %d", n, test.requests)
			}
			if test.reason == "" {
				must(t, err)
				return
			}
			wantReason(t, err, test.reason)
		})
	}
}

// TestProbeFolder does the same with a folder.
func TestProbeFolder(t *testing.T) {
	r, a, data := payloadRepo(t, 3000)
	c := open(t, options(t, r, fileURL(r)))
	must(t, c.Refresh(t.Context()))
	must(t, c.Probe(t.Context(), a))
	files, err := filepath.Glob(filepath.Join(r.dir, "targets", "releases", "*", "*", "*.payload"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	must(t, os.WriteFile(files[0], data[:2999], 0o600))
	wantReason(t, c.Probe(t.Context(), a), client.ReasonBadLength)
	must(t, os.Remove(files[0]))
	wantReason(t, c.Probe(t.Context(), a), client.ReasonServerError)
	a.Target = "releases/v1/amd64/other"
	wantReason(t, c.Probe(t.Context(), a), client.ReasonNotFound)
}

// TestProbeUnreachable: that the network fails is an error too.
func TestProbeUnreachable(t *testing.T) {
	r, a, _ := payloadRepo(t, 3000)
	s := serve(t, r)
	c := open(t, options(t, r, s.URL))
	must(t, c.Refresh(t.Context()))
	s.Close()
	wantReason(t, c.Probe(t.Context(), a), client.ReasonUnreachable)
}
