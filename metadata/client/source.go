package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// source reads the files of a repository.
type source interface {
	// open starts to read the file with the given slash-separated name, from
	// byte offset up to but not including byte end (toEnd: to the end of the
	// file). The answer may be the whole file all the same. Errors are
	// *NetworkError, errNoRange, or the context's.
	open(ctx context.Context, name string, offset, end int64) (*content, error)
}

// toEnd asks for everything from the offset on.
const toEnd = -1

// content is an answer: body starts at byte start of a file of total bytes (-1:
// not said).
type content struct {
	body  io.ReadCloser
	start int64
	total int64
	part  bool // the bytes that were asked for and no others
}

// errNoRange says that the server answered a request for a part with something
// that is neither that part nor the whole.
var errNoRange = errors.New("the server gave another part of the file than was asked for")

// newSource returns the source for a server's address.
func newSource(opts Options) (source, error) {
	u, err := url.Parse(opts.Server)
	if err != nil {
		// The error of Parse repeats the address, which may hold a password.
		var wrong *url.Error
		if errors.As(err, &wrong) {
			err = wrong.Err
		}
		return nil, fmt.Errorf("server address: %w", err)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return nil, fmt.Errorf("server address %s: must be a folder, without ? and #", u.Redacted())
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return nil, fmt.Errorf("server address %q has no host", u.Redacted())
		}
		return newHTTPSource(u, opts), nil
	case "file":
		if (u.Host != "" && u.Host != "localhost") || !filepath.IsAbs(u.Path) {
			return nil, fmt.Errorf("server address %q: write file:///absolute/folder", u.Redacted())
		}
		return &fileSource{dir: filepath.FromSlash(u.Path)}, nil
	}
	return nil, fmt.Errorf("server address %q: use http://, https:// or file://", u.Redacted())
}

// checkName refuses names that could lead out of the repository, whoever signed
// them.
func checkName(name string) error {
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("file name %q leads out of the repository", name)
	}
	return nil
}

// fetch reads a whole file of at most limit bytes, trying again what may help.
func (c *Client) fetch(ctx context.Context, name string, limit int64) (data []byte, err error) {
	err = c.again(ctx, name, func() (err error) {
		data, err = c.fetchOnce(ctx, name, limit)
		return err
	})
	return data, err
}

// again makes a request for a file, and makes it again where that may help.
func (c *Client) again(ctx context.Context, name string, request func() error) error {
	for try := 1; ; try++ {
		err := request()
		if err == nil || !isTransient(err) || try == c.retry.tries {
			return err
		}
		c.log.Info("request failed; trying again", "file", name, "try", try, "error", err)
		if err := c.retry.wait(ctx, try, err); err != nil {
			return err
		}
	}
}

func (c *Client) fetchOnce(ctx context.Context, name string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.RequestTimeout, errTimeout)
	defer cancel()
	answer, err := c.source.open(ctx, name, 0, toEnd)
	if err != nil {
		return nil, err
	}
	defer answer.body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &VerificationError{
			Reason: ReasonBadLength,
			Advice: adviceGarbage,
			Err:    fmt.Errorf("%s: the server sends more than %d bytes", name, limit),
		}
	}
	return data, nil
}

// errTimeout is the cause of a context that ended because an answer took too long.
var errTimeout = &timeoutError{"no complete answer in time"}

// errStall is the cause of a context that ended because an answer stopped coming.
var errStall = &timeoutError{"the answer stopped coming"}

type timeoutError struct{ text string }

func (e *timeoutError) Error() string { return e.text }

// guarded is the body of an answer under watch: it ends the request when less
// than minProgress bytes came within the stall timeout, and turns what goes
// wrong into a NetworkError. Only the time that a reader waits for bytes counts:
// a slow disk is not the server's fault.
type guarded struct {
	io.ReadCloser
	ctx    context.Context
	url    string
	stall  time.Duration
	left   time.Duration // until the next minProgress bytes must be there
	timer  *time.Timer
	recent int
	cancel context.CancelCauseFunc
}

// minProgress is how many bytes must come within a stall timeout: a server that
// drips single bytes must not hold a node for ever (slow retrieval attack).
const minProgress = 1024

func newGuarded(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, url string, stall time.Duration) *guarded {
	g := &guarded{
		ReadCloser: body, ctx: ctx, url: url, stall: stall, left: stall, cancel: cancel,
		timer: time.AfterFunc(stall, func() { cancel(errStall) }),
	}
	g.timer.Stop()
	return g
}

func (g *guarded) Read(p []byte) (int, error) {
	began := time.Now()
	g.timer.Reset(g.left)
	n, err := g.ReadCloser.Read(p)
	g.timer.Stop()
	g.left -= time.Since(began)
	if g.recent += n; g.recent >= minProgress {
		g.recent, g.left = 0, g.stall
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = networkError(g.ctx, g.url, err)
		var n *NetworkError
		if errors.As(err, &n) {
			n.Reason = ReasonStalled // the server was there
		}
	}
	return n, err
}

func (g *guarded) Close() error {
	g.timer.Stop()
	g.cancel(context.Canceled)
	return g.ReadCloser.Close()
}
