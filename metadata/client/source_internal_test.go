package client

import (
	"context"
	"net/http"
	"testing"
	"time"
)

func TestParseContentRange(t *testing.T) {
	for s, want := range map[string]contentRange{
		"bytes 5-9/10": {5, 10, 10}, "bytes 0-0/1": {0, 1, 1}, "bytes 5-9/*": {5, 10, -1}, "bytes 5-6/10": {5, 7, 10},
	} {
		if r, ok := parseContentRange(s); !ok || r != want {
			t.Errorf("%q: %+v, %t", s, r, ok)
		}
	}
	for _, s := range []string{
		"", "bytes", "bytes ", "5-9/10", "bytes 5-9", "bytes 9-5/10", "bytes 5-10/10", "bytes -5-9/10",
		"bytes x-9/10", "bytes 5-x/10", "bytes 5-9/x", "bytes */10", "bytes 5-/10", "items 5-9/10",
		"bytes 5-99999999999999999999/*", "bytes 5-9223372036854775807/*",
	} {
		if r, ok := parseContentRange(s); ok {
			t.Errorf("%q: %+v", s, r)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("bytes 5-9/10")
	f.Add("bytes */10")
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := parseContentRange(s)
		if ok && (r.start < 0 || r.end <= r.start || r.total != -1 && r.total < r.end) {
			t.Errorf("%q: %+v", s, r)
		}
	})
}

// Certificates are judged by the clock floor where the machine's clock is behind.
func TestTLSClock(t *testing.T) {
	floor := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, now := range []time.Time{time.Unix(0, 0), floor.Add(time.Hour)} {
		o := withDefaults(Options{Server: "https://server/", ClockFloor: floor, Now: func() time.Time { return now }})
		s, err := newSource(o)
		if err != nil {
			t.Fatal(err)
		}
		transport := s.(*httpSource).client.Transport.(*http.Transport)
		if got := transport.TLSClientConfig.Time(); got.Before(floor) || got.Before(now) {
			t.Errorf("at %v certificates are judged by %v", now, got)
		}
	}
}

// No name leaves the repository, whatever the layers above let through.
func TestNamesThatLeaveTheRepository(t *testing.T) {
	asked := 0
	web, err := newSource(withDefaults(Options{
		Server:    "http://server/",
		Transport: transportFunc(func(*http.Request) (*http.Response, error) { asked++; return nil, http.ErrServerClosed }),
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "..", "../x", "a/../../x", "/etc/passwd", `a\..\b`, "a\x00b"} {
		for _, s := range []source{web, &fileSource{dir: t.TempDir()}} {
			if _, err := s.open(context.Background(), name, 0, toEnd); err == nil || isMissing(err) {
				t.Errorf("%T: %q: %v", s, name, err)
			}
		}
	}
	if asked != 0 {
		t.Errorf("%d requests were made", asked)
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
