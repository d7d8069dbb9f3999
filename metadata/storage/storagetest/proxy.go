package storagetest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Fault is what a Proxy does with a request.
type Fault int

// The faults.
const (
	// None passes the request on.
	None Fault = iota
	// Denied answers 403 and passes nothing on.
	Denied
	// Broken answers 500 and passes nothing on.
	Broken
	// Conflict answers 409, as S3 does while another write to the same object is
	// under way, and passes nothing on.
	Conflict
	// Half passes half of the request on and cuts both connections.
	Half
	// Lost passes the request on, waits for the server's answer, and cuts the
	// client's connection.
	Lost
)

// Proxy stands between a client and an S3 server and injects faults.
type Proxy struct {
	// URL is its address, which takes the server's place.
	URL    string
	server *url.URL

	mu   sync.Mutex
	rule func(kind string) Fault
}

// NewProxy starts a proxy in front of the server at endpoint.
func NewProxy(t *testing.T, endpoint string) *Proxy {
	t.Helper()
	server, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{server: server}
	listener := httptest.NewServer(p)
	t.Cleanup(listener.Close)
	p.URL = listener.URL
	return p
}

// Rule sets what is done with each request from now on. kind is "head", "get",
// "list", "delete", "put" (an object in one request), or one of the requests
// that an upload in several pieces consists of: "start", "part 1", "part 2",
// ..., "complete", "abort".
func (p *Proxy) Rule(rule func(kind string) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// Always gives all requests of that kind the fault.
func Always(kind string, fault Fault) func(string) Fault {
	return func(k string) Fault {
		if k == kind {
			return fault
		}
		return None
	}
}

// Once gives the first request of that kind the fault and then calls after,
// which may be nil, before the next one is looked at.
func Once(kind string, fault Fault, after func()) func(string) Fault {
	seen := 0
	return func(k string) Fault {
		if k != kind {
			return None
		}
		seen++
		if seen == 1 {
			return fault
		}
		if seen == 2 && after != nil {
			after()
		}
		return None
	}
}

func kindOf(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("uploads"):
		return "start"
	case q.Has("partNumber"):
		return "part " + q.Get("partNumber")
	case q.Has("uploadId") && r.Method == http.MethodDelete:
		return "abort"
	case q.Has("uploadId"):
		return "complete"
	case q.Has("list-type"):
		return "list"
	}
	return map[string]string{
		http.MethodGet: "get", http.MethodHead: "head", http.MethodPut: "put", http.MethodDelete: "delete",
	}[r.Method]
}

// ServeHTTP applies the rule.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	fault := None
	if p.rule != nil {
		fault = p.rule(kindOf(r))
	}
	p.mu.Unlock()
	pass := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(p.server)
			pr.Out.Host = pr.In.Host // it is signed
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {},
	}
	switch fault {
	case None:
		pass.ServeHTTP(w, r)
	case Denied:
		refuse(w, r, http.StatusForbidden, "AccessDenied")
	case Broken:
		refuse(w, r, http.StatusInternalServerError, "InternalError")
	case Conflict:
		refuse(w, r, http.StatusConflict, "ConditionalRequestConflict")
	case Half:
		r.Body = &halfBody{ReadCloser: r.Body, left: r.ContentLength / 2}
		pass.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case Lost:
		pass.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
}

func refuse(w http.ResponseWriter, r *http.Request, status int, code string) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>injected</Message><RequestId>1</RequestId></Error>", code)
}

// halfBody breaks off.
type halfBody struct {
	io.ReadCloser
	left int64
}

func (h *halfBody) Read(p []byte) (int, error) {
	if h.left <= 0 {
		return 0, errors.New("injected: connection cut")
	}
	n, err := h.ReadCloser.Read(p[:min(int64(len(p)), h.left)])
	h.left -= int64(n)
	return n, err
}
