package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// conditional compares a check with nothing new as it is with one whose request
// for timestamp.json is conditional (RFC 9110, If-None-Match), byte for byte on
// the connection.
func (f *fleet) conditional(ctx context.Context, sites ...*site) (string, error) {
	var t table
	t.add("timestamp.json, one check", "answered in full (200)", "not modified (304)", "saved")
	for i, name := range []string{"HTTP", "HTTPS"} {
		whole, tag, err := f.ask(ctx, sites[i].url, "")
		if err != nil {
			return "", err
		}
		short, _, err := f.ask(ctx, sites[i].url, tag)
		if err != nil {
			return "", err
		}
		t.add(name, fmt.Sprintf("%d bytes", whole), fmt.Sprintf("%d bytes", short), fmt.Sprintf("%.0f %%", float64(whole-short)/float64(whole)*100))
	}
	return t.String(), nil
}

// ask makes the two requests of a check over a new connection, and returns how
// many bytes went over it both ways, and timestamp.json's tag.
func (f *fleet) ask(ctx context.Context, url, tag string) (moved int64, newTag string, err error) {
	var count atomic.Int64
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, DisableCompression: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return &countedConn{conn, &count}, err
		},
	}
	defer transport.CloseIdleConnections()
	for _, want := range []struct {
		name   string
		status int
	}{{"2.root.json", http.StatusNotFound}, {"timestamp.json", http.StatusOK}} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metadata/"+want.name, http.NoBody)
		if err != nil {
			return 0, "", err
		}
		request.Header.Set("User-Agent", "tufboot-agent/1.0")
		if tag != "" && want.status == http.StatusOK {
			request.Header.Set("If-None-Match", tag)
			want.status = http.StatusNotModified
		}
		answer, err := transport.RoundTrip(request)
		if err != nil {
			return 0, "", err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != want.status {
			return 0, "", fmt.Errorf("%s: %s instead of %d (%w)", request.URL, answer.Status, want.status, err)
		}
		newTag = answer.Header.Get("Etag")
	}
	return count.Load(), newTag, nil
}
