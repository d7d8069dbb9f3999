package health_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tufboot/agent/health"
)

// limit is the timeout of checks whose other side never answers; the tests
// that need it take this long.
const limit = 200 * time.Millisecond

// runOnce runs one check through the gate and returns its result.
func runOnce(t *testing.T, c health.Check, timeout time.Duration) health.Result {
	t.Helper()
	return health.Run(t.Context(), health.Options{Required: []health.Check{c}, Timeout: timeout}).Results[0]
}

// listenUnix returns a listener on a socket whose path is short enough for
// sun_path whatever the test is called.
func listenUnix(t *testing.T) net.Listener {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serveH2C serves h over unencrypted HTTP/2 on a unix socket.
func serveH2C(t *testing.T, h http.HandlerFunc) (socket string) {
	t.Helper()
	l := listenUnix(t)
	srv := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

// grpcReply is a handler that answers a gRPC call with body and the trailers.
func grpcReply(body string, trailers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		io.WriteString(w, body)
		w.(http.Flusher).Flush()
		for i := 0; i < len(trailers); i += 2 {
			w.Header().Add(http.TrailerPrefix+trailers[i], trailers[i+1])
		}
	}
}

const (
	frameServing    = "\x00\x00\x00\x00\x02\x08\x01"
	frameNotServing = "\x00\x00\x00\x00\x02\x08\x02"
)

func TestContainerdReplies(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
		want string // in the error; "": passes
	}{
		{"serving", grpcReply(frameServing, "Grpc-Status", "0"), ""},
		{"not serving", grpcReply(frameNotServing, "Grpc-Status", "0"), "reports NOT_SERVING"},
		{"unknown", grpcReply("\x00\x00\x00\x00\x00", "Grpc-Status", "0"), "reports UNKNOWN"},
		{"serving, but the call failed", grpcReply(frameServing, "Grpc-Status", "14", "Grpc-Message", "shutting\x01 down"), "gRPC status 14"},
		{"serving, and no trailer", grpcReply(frameServing), "no gRPC status"},
		{"serving, and two statuses", grpcReply(frameServing, "Grpc-Status", "0", "Grpc-Status", "2"), "several gRPC statuses"},
		{"trailers only", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "12")
			w.Header().Set("Grpc-Message", "unknown service")
		}, "gRPC status 12: unknown service"},
		{"status 0 without a message", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "0")
		}, "fewer than gRPC's framing"},
		{"garbage message", grpcReply("\x00\x00\x00\x00\x02\x08\xff", "Grpc-Status", "0"), "malformed protocol buffer"},
		{"garbage frame", grpcReply("hello, world", "Grpc-Status", "0"), "compressed"},
		{"two messages", grpcReply(frameServing+frameServing, "Grpc-Status", "0"), "says that its message has 2 bytes"},
		{"huge body", grpcReply(strings.Repeat(frameServing, 1<<20), "Grpc-Status", "0"), "longer than 1024 bytes"},
		{"endless body", func(w http.ResponseWriter, r *http.Request) {
			for w.Header().Set("Content-Type", "application/grpc"); r.Context().Err() == nil; {
				io.WriteString(w, frameServing)
			}
		}, "longer than 1024 bytes"},
		{"web page", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, "not a gRPC server"},
		{"web page in grpc-web's clothes", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc-web")
		}, "not a gRPC server"},
		{"500", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, "HTTP status 500"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) }, "HTTP status 302"},
		{"huge header", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			grpcReply(frameServing, "Grpc-Status", "0")(w, r)
		}, "connection error"},
		{"connection dropped within the answer", func(w http.ResponseWriter, r *http.Request) {
			grpcReply(frameServing)(w, r)
			panic(http.ErrAbortHandler)
		}, "read the answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := runOnce(t, health.Containerd(serveH2C(t, tt.h)), time.Minute)
			if r.Passed != (tt.want == "") || !strings.Contains(r.Error, tt.want) {
				t.Errorf("passed %v, error %q, want %q", r.Passed, r.Error, tt.want)
			}
		})
	}
}

func TestContainerdRequest(t *testing.T) {
	socket := serveH2C(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || r.URL.Path != "/grpc.health.v1.Health/Check" || r.ProtoMajor != 2 ||
			r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" || !bytes.Equal(body, make([]byte, 5)) {
			t.Errorf("got %s %s %s %v %q", r.Method, r.URL, r.Proto, r.Header, body)
		}
		grpcReply(frameServing, "Grpc-Status", "0")(w, r)
	})
	if r := runOnce(t, health.Containerd(socket), time.Minute); !r.Passed {
		t.Error(r.Error)
	}
}

// Servers that never come to an end are ended by the check's timeout, and ones
// that send without end by the limit on what is read.
func TestContainerdHostileServers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
	}{
		{"accepts and says nothing", func(c net.Conn) { io.Copy(io.Discard, c) }},
		{"closes at once", func(c net.Conn) {}},
		{"speaks HTTP/1.1", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }},
		{"garbage", func(c net.Conn) { io.WriteString(c, strings.Repeat("\x00garbage\xff", 100)) }},
		{"garbage without end", func(c net.Conn) {
			for {
				if _, err := c.Write(bytes.Repeat([]byte{0xa5}, 4096)); err != nil {
					return
				}
			}
		}},
		{"settings frames without end", func(c net.Conn) {
			go io.Copy(io.Discard, c)
			for {
				if _, err := c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listenUnix(t)
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() { defer c.Close(); tt.serve(c) }()
				}
			}()
			if r := runOnce(t, health.Containerd(l.Addr().String()), limit); r.Passed || strings.Contains(r.Error, "panic") {
				t.Errorf("got %+v", r)
			}
		})
	}
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
	}{
		{"no answer", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"header and no body", func(w http.ResponseWriter, r *http.Request) { grpcReply("")(w, r); <-r.Context().Done() }},
		{"message and no trailer", func(w http.ResponseWriter, r *http.Request) { grpcReply(frameServing)(w, r); <-r.Context().Done() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := runOnce(t, health.Containerd(serveH2C(t, tt.h)), limit); r.Passed {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestContainerdSocketProblems(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"missing": filepath.Join(dir, "none"), "not a socket": file, "folder": dir, "too long": "/" + strings.Repeat("x", 300)} {
		if r := runOnce(t, health.Containerd(path), time.Minute); r.Passed || !strings.Contains(r.Error, path) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// realContainerd is a containerd of the test's own.
type realContainerd struct {
	t           *testing.T
	dir, socket string
	cmd         *exec.Cmd
	log         bytes.Buffer
}

func newRealContainerd(t *testing.T) *realContainerd {
	t.Helper()
	if _, err := exec.LookPath("containerd"); err != nil {
		t.Fatalf("this test runs the real containerd: install the Debian package containerd (%v)", err)
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test runs the real containerd, which needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "tb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &realContainerd{t: t, dir: dir, socket: filepath.Join(dir, "c.sock")}
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = %q
`, filepath.Join(dir, "root"), filepath.Join(dir, "state"), c.socket)
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	return c
}

func (c *realContainerd) start() {
	c.t.Helper()
	c.cmd = exec.Command("containerd", "--config", filepath.Join(c.dir, "config.toml"))
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *realContainerd) stop() {
	if c.cmd != nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		c.cmd = nil
	}
}

// TestContainerdForReal follows a real containerd through start, stop and
// start. A killed one leaves its socket behind, which must not be enough.
func TestContainerdForReal(t *testing.T) {
	c := newRealContainerd(t)
	gate := health.Options{Required: []health.Check{health.Containerd(c.socket)}, Interval: 20 * time.Millisecond, Deadline: 2 * time.Minute}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	if r := health.Run(ctx, gate); r.Healthy {
		t.Fatalf("healthy before the start: %+v", r)
	}
	for range 2 {
		c.start()
		if r := health.Wait(ctx, gate); !r.Healthy {
			c.stop()
			t.Fatalf("never healthy: %+v\n%s", r, c.log.String())
		}
		c.stop()
		if _, err := os.Stat(c.socket); err != nil {
			t.Errorf("the test expects the socket to be left behind: %v", err)
		}
		if r := health.Run(ctx, gate); r.Healthy {
			t.Fatalf("healthy after the end: %+v", r)
		}
	}
}
