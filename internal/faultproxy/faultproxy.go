// Package faultproxy is a reverse proxy for tests that spoils what passes through
// it: whatever a network, a proxy or a hostile server can do to an answer. It
// counts every request and every byte that a client took.
//
// It speaks HTTP/1.1 by hand, since net/http refuses to write a wrong answer. A
// client reaches it over TCP, or over connections in memory (Dial), which a test
// in a bubble of fake time (testing/synctest) can wait for.
package faultproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Proxy stands before a server. Its methods may be called at any time.
type Proxy struct {
	server   http.Handler
	mu       sync.Mutex
	fault    Fault
	requests []string
	sent     int64
	conns    map[net.Conn]bool
	listener net.Listener
	serving  sync.WaitGroup
}

// New returns a proxy that spoils nothing yet.
func New(server http.Handler) *Proxy {
	return &Proxy{server: server, conns: make(map[net.Conn]bool)}
}

// Listen starts to serve on a TCP port of this machine and returns its address,
// host:port.
func (p *Proxy) Listen() (string, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	p.listener = l
	p.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.start(c)
		}
	})
	return l.Addr().String(), nil
}

// Dial connects to the proxy in memory, whatever the address is. It can be the
// DialContext of an http.Transport.
func (p *Proxy) Dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.start(far)
	return near, nil
}

// Transport returns a transport that reaches nothing but the proxy, in memory.
// Its idle connections have to be closed.
func (p *Proxy) Transport() *http.Transport {
	return &http.Transport{DialContext: p.Dial, DisableCompression: true}
}

// Close ends all connections and waits for what serves them.
func (p *Proxy) Close() {
	if p.listener != nil {
		p.listener.Close()
	}
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.serving.Wait()
}

// Spoil has every answer from now on pass through f; nil: none.
func (p *Proxy) Spoil(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// Taken returns the requests (path and range) and how many bytes were sent since
// the last call, head lines included.
func (p *Proxy) Taken() (requests []string, sent int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests, sent = p.requests, p.sent
	p.requests, p.sent = nil, 0
	return requests, sent
}

func (p *Proxy) start(nc net.Conn) {
	p.mu.Lock()
	p.conns[nc] = true
	p.mu.Unlock()
	p.serving.Go(func() {
		p.serve(&Conn{proxy: p, conn: nc, in: bufio.NewReader(nc)})
		nc.Close()
		p.mu.Lock()
		delete(p.conns, nc)
		p.mu.Unlock()
	})
}

// serve answers requests until one was answered in a way that ends the connection.
func (p *Proxy) serve(c *Conn) {
	for {
		req, err := http.ReadRequest(c.in)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.requests = append(p.requests, strings.TrimSpace(req.URL.Path+" "+req.Header.Get("Range")))
		fault := p.fault
		p.mu.Unlock()
		c.keep = false
		answer := c.Ask(req)
		if fault == nil {
			c.Answer(answer)
		} else {
			fault(c, req, answer)
		}
		if !c.keep {
			return
		}
	}
}

// Answer is what the server says to a request.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Conn is a connection on which a request has come.
type Conn struct {
	proxy *Proxy
	conn  net.Conn
	in    *bufio.Reader
	keep  bool // another request can follow
}

// Ask returns what the server says to a request.
func (c *Conn) Ask(req *http.Request) Answer {
	r := httptest.NewRecorder()
	c.proxy.server.ServeHTTP(r, req)
	a := Answer{Status: r.Code, Header: r.Header().Clone(), Body: r.Body.Bytes()}
	a.Header.Set("Content-Length", fmt.Sprint(len(a.Body)))
	return a
}

// Answer sends an answer whole. It is the only way after which another request is
// taken on the connection.
func (c *Conn) Answer(a Answer) {
	c.keep = c.Head(a) == nil && c.Send(a.Body) == nil
}

// Head sends the head of an answer, as it is.
func (c *Conn) Head(a Answer) error {
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", a.Status, http.StatusText(a.Status))
	if err := a.Header.Write(&head); err != nil {
		return err
	}
	head.WriteString("\r\n")
	return c.Send(head.Bytes())
}

// Send sends bytes. An error says that the client has gone.
func (c *Conn) Send(data []byte) error {
	n, err := c.conn.Write(data)
	c.proxy.mu.Lock()
	c.proxy.sent += int64(n)
	c.proxy.mu.Unlock()
	return err
}

// Hang says nothing more until the client goes.
func (c *Conn) Hang() { _, _ = io.Copy(io.Discard, c.in) }

// Reset ends the connection in the rudest way that there is.
func (c *Conn) Reset() {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // RST and not FIN
	}
	c.conn.Close()
}
