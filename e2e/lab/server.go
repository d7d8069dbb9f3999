package lab

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// Server is a static file server on the host's loopback that guests reach
// through QEMU's user network. It can stop in the middle of a file, so that a
// test knows how far a download is.
type Server struct {
	port  int
	http  http.Server
	root  string
	mu    sync.Mutex
	stall *Stall
	seen  []string
}

// Stall is a place at which the server stops sending.
type Stall struct {
	suffix  string
	after   int64
	Reached chan struct{} // closed when the server has sent after bytes of the file
}

// Serve starts a server for the folder root on a free port.
func Serve(root string) (*Server, error) { return ServeAt(root, 0) }

// ServeAt starts a server for the folder root on a port of the host's loopback; 0: on a
// free one.
func ServeAt(root string, port int) (*Server, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	s := &Server{root: root, port: l.Addr().(*net.TCPAddr).Port}
	s.http.Handler = s
	go func() { _ = s.http.Serve(l) }()
	return s, nil
}

// Port returns the server's port on the host's loopback.
func (s *Server) Port() int { return s.port }

// URL returns the address, as a guest sees it, of the folder name below root.
func (s *Server) URL(name string) string {
	return fmt.Sprintf("http://%s:%d/%s", GuestHost, s.port, name)
}

// StallAt makes the server stop for good in the next request for a file whose
// path ends in suffix, after as many bytes. The request ends with its client. A request
// for the first byte alone, by which the agent sees whether a file is there, is none.
func (s *Server) StallAt(suffix string, after int64) *Stall {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stall = &Stall{suffix: suffix, after: after, Reached: make(chan struct{})}
	return s.stall
}

// Requests returns the requests for files below the folder name, each as
// "PATH" or "PATH RANGE", and forgets them.
func (s *Server) Requests(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var mine, others []string
	for _, r := range s.seen {
		if strings.HasPrefix(r, "/"+name+"/") {
			mine = append(mine, r)
		} else {
			others = append(others, r)
		}
	}
	s.seen = others
	return mine
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file := filepath.Join(s.root, filepath.FromSlash(r.URL.Path))
	s.mu.Lock()
	s.seen = append(s.seen, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	stall := s.stall
	if stall != nil && strings.HasSuffix(file, stall.suffix) && r.Header.Get("Range") != "bytes=0-0" {
		s.stall = nil
		w = &stallingWriter{ResponseWriter: w, request: r, stall: stall}
	}
	s.mu.Unlock()
	http.ServeFile(w, r, file)
}

// Close ends the server.
func (s *Server) Close() { _ = s.http.Close() }

type stallingWriter struct {
	http.ResponseWriter
	request *http.Request
	stall   *Stall
	sent    int64
}

// Write sends p, or what is left of it up to the stall, and then waits until
// the client has gone.
func (w *stallingWriter) Write(p []byte) (int, error) {
	if left := w.stall.after - w.sent; int64(len(p)) >= left {
		n, _ := w.ResponseWriter.Write(p[:left])
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		close(w.stall.Reached)
		<-w.request.Context().Done()
		return n, w.request.Context().Err()
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}
