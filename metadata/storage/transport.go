package storage

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
)

// Transport answers HTTP requests from a place, as a plain web server would that
// hands it out at the top of its names, but without a network. It is for clients
// in the same process. Every request is taken for a GET of the whole file.
type Transport struct{ From Reader }

// RoundTrip implements http.RoundTripper. A file that is not there is answered
// with 404; every other error of the place is returned as it is.
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Request: req,
	}
	body, info, err := t.From.Open(req.Context(), strings.TrimPrefix(req.URL.Path, "/"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		resp.StatusCode, resp.Body = http.StatusNotFound, http.NoBody
	case err != nil:
		return nil, err
	default:
		resp.Body, resp.ContentLength = body, info.Size
	}
	return resp, nil
}

var _ http.RoundTripper = Transport{}
