package rehearsal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"tufboot/metadata/storage"
)

// server is the address that clients are given. Nothing can have it (RFC 6761,
// section 6.4), so a request that went past the transport would fail.
const server = "http://repository.invalid"

// transport answers a client's requests from a store, as a web server would.
type transport struct {
	from storage.Reader
	// stop ends what the client does. A store that fails is no network error that
	// it should try again.
	stop context.CancelCauseFunc
	// missing is the last file, but for roots, that was asked for and is not there.
	missing string
}

// guard does something with the client. Where the store fails, or ctx ends, that
// is the error.
func (t *transport) guard(ctx context.Context, do func(context.Context) error) error {
	ctx, t.stop = context.WithCancelCause(ctx)
	defer t.stop(nil)
	err := do(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	name := strings.TrimPrefix(req.URL.Path, "/")
	body, info, err := t.from.Open(req.Context(), name)
	if errors.Is(err, fs.ErrNotExist) {
		if !strings.HasSuffix(path.Base(name), ".root.json") {
			t.missing = name
		}
		return answer(req, http.StatusNotFound, io.NopCloser(bytes.NewReader(nil)), 0), nil
	}
	if err != nil {
		t.stop(err)
		return nil, err
	}
	return answer(req, http.StatusOK, body, info.Size), nil
}

func answer(req *http.Request, status int, body io.ReadCloser, length int64) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: body, ContentLength: length, Request: req,
	}
}
