package main

import "testing"

func TestParseRate(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "0": 0, "10MB/s": 10e6, "500kB/s": 500e3, "2GB/s": 2e9, "20000B/s": 20000, "10 MB/s": 10e6, "10MB": 10e6, "10kB/s": 10e3,
	} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"10", "10M", "10Mbit/s", "-1MB/s", "1.5MB/s", "9kB/s", "0B/s", "MB/s", "99999999999GB/s", "10MB/h", " "} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}
