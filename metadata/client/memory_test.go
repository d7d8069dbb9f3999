package client_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/client"
)

// streamed is a client, and an artifact of n zero bytes that a server in this
// process makes up as it sends them.
func streamed(t testing.TB, n int64) (*client.Client, metadata.Artifact) {
	t.Helper()
	r := newRepo(t, "repo")
	a := r.put("payload", nil)
	sum := sumOfZeros(t, n)
	a.Length, a.SHA256 = n, hexOf(sum)
	r.targets.Signed.Targets["payload"] = &tuf.TargetFiles{Length: n, Hashes: tuf.Hashes{"sha256": sum}}
	r.publish()
	s := serve(t, r)
	s.setFault(on("payload", func(w http.ResponseWriter, _ *http.Request) {
		z := zeros(n)
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.CopyBuffer(struct{ io.Writer }{w}, &z, make([]byte, 64<<10))
	}))
	return refreshed(t, options(t, r, s.URL)), a
}

// What a download allocates does not grow with what it downloads: 64 MB may not
// cost 1 MB more than 1 MB does.
func TestDownloadMemoryDoesNotGrow(t *testing.T) {
	allocated := func(n int64) uint64 {
		c, a := streamed(t, n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		must(t, c.Download(t.Context(), a, nil, io.Discard, nil))
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	allocated(1 << 10) // what is allocated once in a process
	small, large := allocated(1<<20), allocated(64<<20)
	if large > small+(1<<20) {
		t.Errorf("%d bytes allocated for 64 MB, %d for 1 MB", large, small)
	}
}

// BenchmarkDownload500MB streams 500 MB over HTTP. peak-rss-MB is the most that
// the process held at once, the server and the test itself included.
func BenchmarkDownload500MB(b *testing.B) {
	const size = 500_000_000
	c, a := streamed(b, size)
	b.SetBytes(size)
	for b.Loop() {
		must(b, c.Download(b.Context(), a, nil, io.Discard, nil))
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys)/1e6, "heap-MB")
	b.ReportMetric(peakRSS(b), "peak-rss-MB")
}

// peakRSS returns the process's VmHWM in MB (proc_pid_status(5)).
func peakRSS(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile(filepath.Join("/proc/self", "status"))
	must(b, err)
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			must(b, err)
			return kb / 1000
		}
	}
	b.Fatal("no VmHWM in /proc/self/status")
	return 0
}

// The same for what is put together from old content: a map of 64 MB may not
// cost 2 MB more than one of 2 MB does, and both together little more than the
// buffers.
func TestDeltaMemoryDoesNotGrow(t *testing.T) {
	allocated := func(n int) uint64 {
		data := random(1, n)
		r := newRepo(t, "repo")
		a := r.put("payload", data)
		r.publish()
		c := refreshed(t, options(t, r, fileURL(r)))
		seed := edited(data, 40, 1000)
		d := client.Delta{Map: mapOf(t, data), MaxRequests: 48, Seeds: []client.Seed{{Content: bytes.NewReader(seed), Size: int64(n)}}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		usage, err := c.DownloadDelta(t.Context(), a, d, nil, io.Discard, nil)
		runtime.ReadMemStats(&after)
		must(t, err)
		if usage.Reused == 0 {
			t.Errorf("usage %+v", usage)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	small, large := allocated(2<<20), allocated(64<<20)
	if large > small+2<<20 || large > 8<<20 {
		t.Errorf("%d bytes allocated for 64 MB, %d for 2 MB", large, small)
	}
}

// BenchmarkDelta puts 100 MB together of which 4 percent are fetched.
func BenchmarkDelta(b *testing.B) {
	data := random(1, 100<<20)
	r := newRepo(b, "repo")
	a := r.put("payload", data)
	r.publish()
	c := refreshed(b, options(b, r, fileURL(r)))
	seed := edited(data, 40, 100_000)
	d := client.Delta{Map: mapOf(b, data), MaxRequests: 48, Seeds: []client.Seed{{Content: bytes.NewReader(seed), Size: int64(len(data))}}}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		_, err := c.DownloadDelta(b.Context(), a, d, nil, io.Discard, nil)
		must(b, err)
	}
}
