package faultproxy

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Fault sends what becomes of an answer. Unless it ends with Conn.Answer, the
// connection is closed after it.
type Fault func(c *Conn, req *http.Request, a Answer)

// On spoils only the answers for files whose address has part in it.
func On(part string, f Fault) Fault {
	return func(c *Conn, req *http.Request, a Answer) {
		if strings.Contains(req.URL.Path, part) {
			f(c, req, a)
			return
		}
		c.Answer(a)
	}
}

// Times spoils the first n answers only.
func Times(n int, f Fault) Fault {
	var left atomic.Int64 // requests come over several connections
	left.Store(int64(n))
	return func(c *Conn, req *http.Request, a Answer) {
		if left.Add(-1) < 0 {
			c.Answer(a)
			return
		}
		f(c, req, a)
	}
}

// beginning sends the head and the first n bytes, and reports whether something is
// left to send and somebody to send it to.
func (c *Conn) beginning(a Answer, n int) bool {
	n = min(n, len(a.Body))
	return c.Head(a) == nil && c.Send(a.Body[:n]) == nil && n < len(a.Body)
}

// Silence takes the request and says nothing.
func Silence(c *Conn, _ *http.Request, _ Answer) { c.Hang() }

// Stall stops for ever after n bytes.
func Stall(n int) Fault {
	return func(c *Conn, _ *http.Request, a Answer) {
		if c.beginning(a, n) {
			c.Hang()
		}
	}
}

// Reset resets the connection after n bytes.
func Reset(n int) Fault {
	return func(c *Conn, _ *http.Request, a Answer) {
		c.beginning(a, n)
		c.Reset()
	}
}

// Drip sends n bytes and pauses, again and again.
func Drip(n int, pause time.Duration) Fault {
	return func(c *Conn, _ *http.Request, a Answer) {
		if c.Head(a) != nil {
			return
		}
		for rest := a.Body; len(rest) > 0; rest = rest[min(n, len(rest)):] {
			if c.Send(rest[:min(n, len(rest))]) != nil {
				return
			}
			time.Sleep(pause)
		}
	}
}

// Length says another Content-Length, by so many bytes, than is sent.
func Length(by int) Fault {
	return func(c *Conn, _ *http.Request, a Answer) {
		a.Header.Set("Content-Length", fmt.Sprint(max(len(a.Body)+by, 0)))
		c.beginning(a, len(a.Body))
	}
}

// Cut sends n bytes and ends the answer as if that were all of it.
func Cut(n int) Fault {
	return func(c *Conn, _ *http.Request, a Answer) {
		a.Header.Del("Content-Length")
		c.beginning(a, n)
	}
}

// IgnoreRange answers each request with the whole file.
func IgnoreRange(c *Conn, req *http.Request, _ Answer) {
	req.Header.Del("Range")
	c.Answer(c.Ask(req))
}

// MoveRange answers a request for a part with the right bytes, and says that they
// lie elsewhere.
func MoveRange(by int64) Fault {
	return func(c *Conn, _ *http.Request, a Answer) {
		var start, end, total int64
		if _, err := fmt.Sscanf(a.Header.Get("Content-Range"), "bytes %d-%d/%d", &start, &end, &total); err == nil {
			a.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start+by, end+by, total))
		}
		c.Answer(a)
	}
}

// WholeFor206 answers a request for a part with these bytes, and calls them the whole.
func WholeFor206(c *Conn, _ *http.Request, a Answer) {
	a.Status = http.StatusOK
	a.Header.Del("Content-Range")
	c.Answer(a)
}

// OtherBytes answers with bytes that were never published.
func OtherBytes(c *Conn, _ *http.Request, a Answer) {
	a.Body = bytes.Clone(a.Body)
	for i := range a.Body {
		a.Body[i] ^= 0x55
	}
	c.Answer(a)
}

// Gzip compresses on the way, and says so or not.
func Gzip(says bool) Fault {
	return func(c *Conn, _ *http.Request, a Answer) {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(a.Body)
		_ = z.Close()
		a.Body = packed.Bytes()
		a.Header.Set("Content-Length", fmt.Sprint(len(a.Body)))
		if says {
			a.Header.Set("Content-Encoding", "gzip")
		}
		c.Answer(a)
	}
}

// Redirect sends the client to another address with the same path; an address
// that ends in / is taken as it is.
func Redirect(to string) Fault {
	return func(c *Conn, req *http.Request, _ Answer) {
		location := to
		if !strings.HasSuffix(to, "/") {
			location += req.URL.Path
		}
		c.Answer(Answer{Status: http.StatusFound, Header: http.Header{"Location": {location}, "Content-Length": {"0"}}})
	}
}

// Portal answers with a login page, as the network of a hotel does.
func Portal(c *Conn, _ *http.Request, _ Answer) {
	page := []byte("<!doctype html><title>Welcome</title><form>Accept our terms to use the network</form>")
	c.Answer(Answer{Status: http.StatusOK, Header: http.Header{
		"Content-Type": {"text/html"}, "Content-Length": {fmt.Sprint(len(page))},
	}, Body: page})
}

// Endless sends the answer again and again, as one.
func Endless(c *Conn, _ *http.Request, a Answer) {
	a.Header.Del("Content-Length")
	if c.Head(a) != nil {
		return
	}
	if len(a.Body) == 0 {
		a.Body = []byte(" ")
	}
	data := bytes.Repeat(a.Body, 4096/len(a.Body)+1)
	for c.Send(data) == nil {
		continue
	}
}

// Status answers with an HTTP status and nothing else.
func Status(code int, header http.Header) Fault {
	return func(c *Conn, _ *http.Request, _ Answer) {
		h := http.Header{"Content-Length": {"0"}}
		for name, values := range header {
			h[name] = values
		}
		c.Answer(Answer{Status: code, Header: h})
	}
}
