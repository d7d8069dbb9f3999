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
	whole := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body)
		}
	}
	for name, test := range map[string]struct {
		answer http.HandlerFunc // nil: the file server's
		reason string           // "": it is there, or nobody knows
	}{
		"there":                     {nil, ""},
		"there, length not said":    {part("bytes 0-0/*"), ""},
		"whole":                     {whole(data), ""},
		"whole, length not said":    {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, ""},
		"a part called the whole":   {whole(data[:1]), ""},
		"another part":              {part("bytes 5-5/300000"), ""},
		"no parts":                  {status(http.StatusRequestedRangeNotSatisfiable), ""},
		"not this method":           {status(http.StatusMethodNotAllowed), ""},
		"not implemented":           {status(http.StatusNotImplemented), ""},
		"missing":                   {status(http.StatusNotFound), client.ReasonServerError},
		"hidden":                    {status(http.StatusForbidden), client.ReasonServerError},
		"gone":                      {status(http.StatusGone), client.ReasonServerError},
		"overloaded":                {status(http.StatusServiceUnavailable), client.ReasonServerError},
		"shorter":                   {part("bytes 0-0/299999"), client.ReasonBadLength},
		"whole, and another length": {whole(data[:1000]), client.ReasonBadLength},
		"empty":                     {whole(nil), client.ReasonBadLength},
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
			requests := 1
			if name == "overloaded" {
				requests = 5
			}
			if n := len(s.taken()); n != requests {
				t.Errorf("%d requests, want %d", n, requests)
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
