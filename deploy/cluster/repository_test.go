package cluster_test

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tufboot/deploy/cluster"
)

// address is where the node finds its repository.
const address = cluster.NodeAddress + ":8080"

// repository is a repository of two releases and the server that hands it out.
type repository struct {
	server *http.Server
	hold   atomic.Pointer[hold]
}

// hold has downloads of an initramfs wait.
type hold struct {
	once     sync.Once
	began    chan struct{} // closed when the first one waits
	released chan struct{} // closed when they may go on
}

func path(names ...string) string {
	return filepath.Join(append([]string{cluster.Dir()}, names...)...)
}

// newRepository publishes 1.0.0 and 2.0.0, and makes the disk of a node that has
// the first.
func newRepository(t *testing.T) *repository {
	t.Helper()
	repo := []string{"--repo", path("repo"), "--keys", path("keys")}
	repoTool(t, append([]string{"init", "--unsafe-plaintext-keys"}, repo...)...)
	root := path("repo/metadata/1.root.json")
	kernels, _ := filepath.Glob("/boot/vmlinuz-*")
	if len(kernels) == 0 {
		t.Fatal("a kernel is needed: install the package linux-image-cloud-amd64")
	}
	for _, version := range []string{"1.0.0", "2.0.0"} {
		write(t, path(version), append([]byte("070701"), bytes.Repeat([]byte(version), 100_000)...)) // begins as an archive does
		files := []string{"--kernel", slices.Max(kernels), "--initramfs", path(version), "--version", version}
		repoTool(t, append(append([]string{"publish", "--channel", "stable"}, repo...), files...)...)
		if version == "1.0.0" {
			repoTool(t, append([]string{"image", "--root", root, "-o", path("disk.img")}, files...)...)
		}
	}
	r := new(repository)
	r.up(t)
	return r
}

// up starts the server.
func (r *repository) up(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(path("repo")))
	r.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		probe := req.Header.Get("Range") == "bytes=0-0" // is it there?
		if h := r.hold.Load(); h != nil && strings.HasSuffix(req.URL.Path, "initramfs") && !probe {
			h.once.Do(func() { close(h.began) })
			select {
			case <-h.released:
			case <-req.Context().Done():
			}
		}
		files.ServeHTTP(w, req)
	})}
	go r.server.Serve(listener) //nolint:errcheck // it always ends with http.ErrServerClosed
}

// down stops the server: connections are refused.
func (r *repository) down(t *testing.T) {
	t.Helper()
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
}

// slow holds back every initramfs. The channel that it returns is closed when one
// is asked for; release lets them through, and may be called twice.
func (r *repository) slow() (began <-chan struct{}, release func()) {
	h := &hold{began: make(chan struct{}), released: make(chan struct{})}
	r.hold.Store(h)
	return h.began, func() {
		if r.hold.CompareAndSwap(h, nil) {
			close(h.released)
		}
	}
}

func repoTool(t *testing.T, args ...string) {
	t.Helper()
	output(t, path("repo-tool"), args...)
}

// output runs a program that has to succeed.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
