package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tufboot/metadata"
)

// httpPatience is how long a web server may take for the header of an answer,
// and then for each piece of its body.
const httpPatience = 30 * time.Second

// HTTP reads a repository from a static web server. It has no list of files and
// cannot be written.
type HTTP struct {
	base     *url.URL
	client   *http.Client
	patience time.Duration
	err      error // what is wrong with the address
}

// NewHTTP returns the reader of the repository at base, the address of the
// folder that holds metadata/ and targets/. A name and password in it are sent
// as basic authentication, and never shown. client may be nil for one with the
// usual limits; of one that is given, only the rule about redirects is
// replaced: a few are followed, but never from https to http.
//
// If base is no such address, every call returns the error that says why.
func NewHTTP(base string, client *http.Client) *HTTP {
	h := &HTTP{patience: httpPatience}
	h.base, h.err = parseHTTP(base)
	if client == nil {
		client = new(http.Client)
	}
	own := *client
	own.CheckRedirect = checkRedirect
	h.client = &own
	return h
}

func parseHTTP(base string) (*url.URL, error) {
	u, err := parseURL(base)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("%s: not the address of a web server", shown(base))
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s: must be a folder, without ? and #", shown(base))
	}
	return u, nil
}

var errRedirect = errors.New("refused to follow a redirect")

func checkRedirect(req *http.Request, via []*http.Request) error {
	const limit = 5
	if len(via) > limit {
		return fmt.Errorf("%w: more than %d", errRedirect, limit)
	}
	if from := via[len(via)-1].URL.Scheme; from == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w from https to %s", errRedirect, req.URL.Scheme)
	}
	return nil
}

// String returns the address without the password.
func (h *HTTP) String() string {
	if h.base == nil {
		return "this address"
	}
	return h.base.Redacted()
}

// Open reads a file; see [Reader]. The Version is the server's ETag, the Size -1
// where the server does not say it. An answer that is cut short ends with an
// error.
func (h *HTTP) Open(ctx context.Context, name string) (io.ReadCloser, Info, error) {
	return h.ask(ctx, http.MethodGet, "open", name)
}

// Stat asks for a file's size; see [Reader] and [HTTP.Open].
func (h *HTTP) Stat(ctx context.Context, name string) (Info, error) {
	body, info, err := h.ask(ctx, http.MethodHead, "look at", name)
	if err == nil {
		_ = body.Close()
	}
	return info, err
}

func (h *HTTP) ask(ctx context.Context, method, op, name string) (io.ReadCloser, Info, error) {
	if h.err != nil {
		return nil, Info{}, h.err
	}
	if err := checkName(op, name, h.String()); err != nil {
		return nil, Info{}, err
	}
	ctx, watch := newWatch(ctx, h.patience)
	resp, err := h.do(ctx, method, name)
	watch.pause()
	if err == nil {
		err = statusError(resp, name)
		if err != nil {
			resp.Body.Close()
		}
	}
	if err != nil {
		err = &FileError{Op: op, Name: name, Place: h.String(), Err: cause(ctx, err)}
		watch.end()
		return nil, Info{}, err
	}
	info := Info{Name: name, Size: resp.ContentLength, Version: resp.Header.Get("ETag")}
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		info.Modified = t
	}
	return &watchedBody{ctx, watch, resp.Body}, info, nil
}

func (h *HTTP) do(ctx context.Context, method, name string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, metadata.FileURL(h.base, name).String(), nil)
	if err != nil {
		return nil, err
	}
	// The signed bytes as they are, not compressed on the way.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := h.client.Do(req)
	var wrong *url.Error
	if errors.As(err, &wrong) {
		err = wrong.Err // its text repeats the address
	}
	return resp, err
}

// isRoot says whether name is that of a version of the root.
func isRoot(name string) bool {
	version, ok := strings.CutPrefix(name, "metadata/")
	version, isRoot := strings.CutSuffix(version, ".root.json")
	return ok && isRoot && version != "" && only(version, "0123456789")
}

// statusError returns the error for an answer that is not the file.
func statusError(resp *http.Response, name string) error {
	coding := resp.Header.Get("Content-Encoding")
	switch code := resp.StatusCode; {
	case code == http.StatusOK && coding != "" && coding != "identity":
		return fmt.Errorf("the server compressed the answer (%s) although it was asked not to", coding)
	case code == http.StatusOK:
		return nil
	case code == http.StatusNotFound || code == http.StatusGone:
		return fs.ErrNotExist
	case code == http.StatusForbidden && isRoot(name):
		// Object stores answer so for what is not there, to whom may not list
		// the bucket. The next root is asked for to see that there is none.
		return fs.ErrNotExist
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("access denied: the server answers %s", resp.Status)
	}
	return fmt.Errorf("the server answers %s", resp.Status)
}

var _ Reader = (*HTTP)(nil)
