package rehearsal

import (
	"context"
	"net/http"
	"path"
	"strings"

	"tufboot/metadata/storage"
)

// server is the address that clients are given. Nothing can have it (RFC 6761,
// section 6.4), so a request that went past the transport would fail.
const server = "http://repository.invalid"

// transport answers a client's requests from a store, and notes what goes wrong.
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
	resp, err := storage.Transport{From: t.from}.RoundTrip(req)
	name := strings.TrimPrefix(req.URL.Path, "/")
	switch {
	case err != nil:
		t.stop(err)
	case resp.StatusCode == http.StatusNotFound && !strings.HasSuffix(path.Base(name), ".root.json"):
		t.missing = name
	}
	return resp, err
}
