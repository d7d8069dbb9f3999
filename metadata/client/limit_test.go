package client_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A client with a limit takes its time for an artifact, and no longer than it
// has to; being slow on purpose is no stall.
func TestBandwidthLimit(t *testing.T) {
	const size, rate = 1_000_000, 20_000
	r, a, data := payloadRepo(t, size)
	synctest.Test(t, func(t *testing.T) {
		opts := options(t, r, "http://host")
		opts.Transport = fromDisk(r, func(_ *http.Request, body io.Reader) io.Reader { return body })
		opts.BytesPerSecond = rate
		c := open(t, opts)
		must(t, c.Refresh(t.Context()))
		start := time.Now()
		var got bytes.Buffer
		must(t, c.Download(t.Context(), a, nil, &got, nil))
		if !bytes.Equal(got.Bytes(), data) {
			t.Error("other bytes")
		}
		if took := time.Since(start); took < 49*time.Second || took > 51*time.Second {
			t.Errorf("%d bytes at %d bytes/s took %v", size, rate, took)
		}
	})
}
