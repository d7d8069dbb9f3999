package storagetest

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// StartGCS builds and starts fake-gcs-server, an emulator of Google Cloud
// Storage, and returns a function that makes a bucket and returns its address.
// An emulator shows that the requests are right, not that the service is. It
// skips the test with -short.
func StartGCS(t *testing.T) (newBucket func(t *testing.T) string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an emulator")
	}
	program := buildServer(t, "github.com/fsouza/fake-gcs-server")
	endpoint := startServer(t, func(address string) []string {
		_, port, _ := net.SplitHostPort(address)
		return []string{program, "-scheme", "http", "-host", "127.0.0.1", "-port", port,
			"-public-host", address, "-external-url", "http://" + address, "-backend", "memory", "-log-level", "error"}
	})
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(endpoint, "http://"))
	buckets := 0
	return func(t *testing.T) string {
		t.Helper()
		buckets++
		name := fmt.Sprintf("bucket-%d", buckets)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint+"/storage/v1/b?project=test",
			strings.NewReader(`{"name": "`+name+`"}`))
		noError(t, err)
		resp, err := http.DefaultClient.Do(req)
		noError(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("make a bucket: %s", resp.Status)
		}
		return "gs://" + name + "?access_id=-"
	}
}
