package client_test

import (
	"bytes"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// Metadata and artifacts come over one connection, over HTTP/1.1 and HTTP/2.
func TestOneConnection(t *testing.T) {
	for name, secure := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t, "repo")
			release := r.release("1", "stable")
			var opened atomic.Int64
			files := http.FileServer(http.Dir(r.dir))
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Proto != name {
					t.Errorf("%s was asked for by %s", req.URL.Path, req.Proto)
				}
				files.ServeHTTP(w, req)
			}))
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					opened.Add(1)
				}
			}
			if s.EnableHTTP2 = secure; secure {
				s.StartTLS()
			} else {
				s.Start()
			}
			defer s.Close()
			c := open(t, options(t, r, s.URL))
			if secure {
				roots := x509.NewCertPool()
				roots.AddCert(s.Certificate())
				c.TrustServer(roots)
			}
			must(t, c.Refresh(t.Context()))
			_, err := c.Resolve(t.Context(), "stable", "amd64")
			must(t, err)
			for _, a := range release.Artifacts() {
				must(t, c.Probe(t.Context(), a))
				must(t, c.Download(t.Context(), a, nil, new(bytes.Buffer), nil))
			}
			if n := opened.Load(); n != 1 {
				t.Errorf("%d connections were made", n)
			}
		})
	}
}
