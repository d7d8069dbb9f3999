package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tufboot/metadata"
)

// httpSource reads a repository from a web server.
type httpSource struct {
	base      *url.URL
	client    *http.Client
	userAgent string
	timeout   time.Duration // until the answer's header
	stall     time.Duration
}

func newHTTPSource(base *url.URL, opts Options) *httpSource {
	transport := opts.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:    15 * time.Second,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, Time: notBefore(opts.ClockFloor, opts.Now)},
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        30 * time.Second,
			ExpectContinueTimeout:  time.Second,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &httpSource{
		base:      base,
		client:    &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		userAgent: opts.UserAgent,
		timeout:   opts.RequestTimeout,
		stall:     opts.StallTimeout,
	}
}

// notBefore is a clock that never shows a time before floor: a machine that
// starts in 1970 would take every certificate for one of the future.
func notBefore(floor time.Time, now func() time.Time) func() time.Time {
	return func() time.Time {
		if t := now(); t.After(floor) {
			return t
		}
		return floor
	}
}

var errRedirect = errors.New("refused to follow a redirect")

// checkRedirect allows a few redirects, never from https to http: the metadata
// is signed, but what a node asks for is nobody's business.
func checkRedirect(req *http.Request, via []*http.Request) error {
	const limit = 5
	if len(via) > limit {
		return fmt.Errorf("%w: more than %d", errRedirect, limit)
	}
	from, to := via[len(via)-1].URL.Scheme, req.URL.Scheme
	if to != from && to != "https" {
		return fmt.Errorf("%w from %s to %s", errRedirect, from, to)
	}
	return nil
}

func (s *httpSource) open(ctx context.Context, name string, offset, end int64) (*content, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	u := metadata.FileURL(s.base, name)
	shown := u.Redacted()
	ctx, cancel := context.WithCancelCause(ctx)
	watchdog := time.AfterFunc(s.timeout, func() { cancel(errTimeout) })
	resp, err := s.get(ctx, u, offset, end)
	watchdog.Stop()
	if err != nil {
		err = networkError(ctx, shown, err)
		cancel(context.Canceled)
		return nil, err
	}
	body := newGuarded(ctx, cancel, resp.Body, shown, s.stall)
	resp.Body = body
	answer, err := interpret(resp, offset, end, shown)
	if err != nil {
		_ = body.Close()
		return nil, err
	}
	answer.body = body
	return answer, nil
}

func (s *httpSource) get(ctx context.Context, u *url.URL, offset, end int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", s.userAgent)
	// The signed bytes as they are: a compressed answer could grow without end.
	req.Header.Set("Accept-Encoding", "identity")
	switch {
	case end >= 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, end-1))
	case offset > 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	return s.client.Do(req)
}

// interpret reads an answer's header.
func interpret(resp *http.Response, offset, end int64, shown string) (*content, error) {
	answer := new(content)
	asked := offset > 0 || end >= 0
	switch {
	case resp.StatusCode == http.StatusOK:
		answer.total = resp.ContentLength
	case resp.StatusCode == http.StatusPartialContent && asked:
		r, ok := parseContentRange(resp.Header.Get("Content-Range"))
		if !ok || r.start != offset || end >= 0 && r.end != end {
			return nil, errNoRange
		}
		answer.start, answer.total, answer.part = r.start, r.total, true
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && asked:
		return nil, errNoRange
	default:
		// Read to its end, an answer leaves the connection for the next request.
		_, _ = io.CopyN(io.Discard, resp.Body, 16<<10)
		return nil, statusError(resp, shown)
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, &NetworkError{
			Reason: ReasonServerError, URL: shown,
			Advice: "Switch off compression for these files on the server or proxy.",
			Err:    fmt.Errorf("the server compressed the answer (%s) although it was asked not to", coding),
		}
	}
	return answer, nil
}

// contentRange is a part of a file: from byte start up to but not including byte
// end, of total bytes (-1: not said).
type contentRange struct{ start, end, total int64 }

// parseContentRange reads "bytes FIRST-LAST/TOTAL" (RFC 9110, section 14.4).
func parseContentRange(s string) (r contentRange, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	if !ok {
		return r, false
	}
	span, size, ok := strings.Cut(s, "/")
	if !ok {
		return r, false
	}
	from, to, ok := strings.Cut(span, "-")
	if !ok {
		return r, false
	}
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	if err1 != nil || err2 != nil || first < 0 || last < first || last == math.MaxInt64 {
		return r, false
	}
	r = contentRange{start: first, end: last + 1, total: -1}
	if size == "*" {
		return r, true
	}
	total, err := strconv.ParseInt(size, 10, 64)
	r.total = total
	return r, err == nil && total > last
}

// statusError is the NetworkError for an answer that is not the file.
func statusError(resp *http.Response, shown string) error {
	e := &NetworkError{Reason: ReasonServerError, URL: shown, Status: resp.StatusCode}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.transient = true
		e.Advice = "The server is overloaded or not working. Try again later; then ask its operator."
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			e.after = seconds
		}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		e.Advice = "The server or a proxy refuses access to this node. Check its address and the server's permissions."
	}
	return e
}

// networkError classifies what went wrong with a request. It returns the
// context's own error when the caller ended it.
func networkError(ctx context.Context, shown string, err error) error {
	var (
		timeout *timeoutError
		cert    *tls.CertificateVerificationError
		asked   *url.Error
	)
	if errors.As(context.Cause(ctx), &timeout) {
		return &NetworkError{Reason: ReasonStalled, URL: shown, Err: timeout, transient: true}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", shown, context.Cause(ctx))
	}
	if errors.As(err, &asked) {
		err = asked.Err // its text repeats the address
	}
	e := &NetworkError{Reason: ReasonUnreachable, URL: shown, Err: err, transient: true}
	switch {
	case errors.As(err, &cert):
		e.transient = false
		e.Advice = "The server's TLS certificate is not trusted. Check the address, this node's clock and its CA certificates."
	case errors.Is(err, errRedirect):
		e.Reason, e.transient = ReasonServerError, false
		e.Advice = "Give the address that the server redirects to."
	}
	return e
}
