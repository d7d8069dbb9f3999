package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/client"
)

const (
	fleetSize = 10_000
	// atOnce is how many nodes check at the same moment.
	atOnce = 64
)

// fleet is many nodes: real clients, each with what it has kept. Only what
// becomes of the clients between two checks is not simulated: each is a new one,
// with a connection of its own, as each run of the agent is.
type fleet struct {
	dir   string
	root  []byte
	roots *x509.CertPool
	moved atomic.Int64 // bytes on all connections, both ways
	have  atomic.Value // metadata.ID: the release that a node has seen before
}

// checks are what one look of the whole fleet cost.
type checks struct {
	cost                 // of which wall, network and requests
	server time.Duration // processor time
	moved  int64         // bytes on the connections, TLS included
}

// fleet lets the nodes check: for the first time, with nothing new, and with a
// new release.
func (b *bench) fleet(ctx context.Context) (string, error) {
	dir := filepath.Join(b.dir, "fleet")
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	publish := func(version int) error {
		if err := random(at("file"), 1000, uint64(version)); err != nil {
			return err
		}
		return command(ctx, "", filepath.Join(b.bin, "repo-tool"), "publish", "--repo", at("repo"), "--keys", at("keys"),
			"--version", strconv.Itoa(version), "--kernel", at("file"), "--initramfs", at("file"))
	}
	err := command(ctx, "", filepath.Join(b.bin, "repo-tool"), "init", "--repo", at("repo"), "--keys", at("keys"), "--unsafe-plaintext-keys")
	if err != nil {
		return "", err
	}
	if err := publish(1); err != nil {
		return "", err
	}
	err = command(ctx, "", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
		"-keyout", at("key.pem"), "-out", at("cert.pem"), "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1")
	if err != nil {
		return "", err
	}
	plain, err := startSite(ctx, siteOptions{dir: at("plain"), files: at("repo"), address: "127.0.0.1:18432"})
	if err != nil {
		return "", err
	}
	defer plain.close()
	secure, err := startSite(ctx, siteOptions{dir: at("secure"), files: at("repo"), address: "127.0.0.1:18433", cert: at("cert.pem"), key: at("key.pem")})
	if err != nil {
		return "", err
	}
	defer secure.close()
	f, err := newFleet(at("repo/metadata/1.root.json"), at("cert.pem"))
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(f.dir)
	var t table
	t.add("check", "requests", "bytes to the node", "on the wire, both ways", "server's processor time", "one core carries", "nodes, every 6 hours", "seen here")
	var quiet checks
	for _, phase := range []struct {
		name    string
		site    *site
		publish int
	}{
		{"first, HTTPS", secure, 0}, {"nothing new, HTTP", plain, 0}, {"nothing new, HTTPS", secure, 0}, {"a new release, HTTPS", secure, 2},
	} {
		if phase.publish > 0 {
			if err := publish(phase.publish); err != nil {
				return "", err
			}
		}
		c, err := f.check(ctx, phase.site, strconv.Itoa(max(phase.publish, 1)))
		if err != nil {
			return "", fmt.Errorf("%s: %w", phase.name, err)
		}
		if phase.name == "nothing new, HTTPS" {
			quiet = c
		}
		each := c.server / fleetSize
		rate := float64(time.Second) / float64(each)
		t.add(phase.name, per(c.requests), per(c.network), per(c.moved), fmt.Sprintf("%d µs", each.Microseconds()),
			fmt.Sprintf("%.0f/s", rate), fmt.Sprintf("%.0f million", rate*6*3600/1e6), fmt.Sprintf("%.0f/s", fleetSize/c.wall.Seconds()))
	}
	conditional, err := f.conditional(ctx, plain, secure)
	return t.String() + "\n" + b.releaseDay(quiet) + "\n" + conditional, err
}

// per is a figure for each node.
func per(n int64) string {
	if n%fleetSize == 0 {
		return strconv.FormatInt(n/fleetSize, 10)
	}
	return fmt.Sprintf("%.0f", float64(n)/fleetSize)
}

func newFleet(root, cert string) (*fleet, error) {
	f := &fleet{roots: x509.NewCertPool()}
	var err error
	if f.root, err = os.ReadFile(root); err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(cert)
	if err != nil {
		return nil, err
	}
	f.roots.AppendCertsFromPEM(pem)
	// In memory where that is to be had: the nodes' disks are not measured.
	parent := "/dev/shm"
	if !exists(parent) {
		parent = ""
	}
	f.dir, err = os.MkdirTemp(parent, "tufboot-bench-fleet-")
	return f, err
}

// check lets every node look once, and see that version.
func (f *fleet) check(ctx context.Context, s *site, version string) (c checks, err error) {
	if err := s.sent(new(cost)); err != nil {
		return c, err
	}
	before, err := s.cpu()
	if err != nil {
		return c, err
	}
	f.moved.Store(0)
	start := time.Now()
	var next atomic.Int64
	var workers sync.WaitGroup
	failed := make(chan error, atOnce)
	for range atOnce {
		workers.Go(func() {
			for n := next.Add(1); n <= fleetSize; n = next.Add(1) {
				if err := f.node(ctx, s.url, n, version); err != nil {
					failed <- fmt.Errorf("node %d: %w", n, err)
					return
				}
			}
		})
	}
	workers.Wait()
	close(failed)
	if err := <-failed; err != nil {
		return c, err
	}
	c.wall = time.Since(start)
	after, err := s.cpu()
	if err != nil {
		return c, err
	}
	c.server, c.moved = after-before, f.moved.Load()
	return c, s.sent(&c.cost)
}

// node is one check of one node.
func (f *fleet) node(ctx context.Context, url string, n int64, version string) error {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return &countedConn{conn, &f.moved}, err
		},
	}
	defer transport.CloseIdleConnections()
	c, err := client.New(client.Options{Server: url, Root: f.root, Dir: filepath.Join(f.dir, strconv.FormatInt(n, 10)), Transport: transport})
	if err != nil {
		return err
	}
	have, _ := f.have.Load().(metadata.ID)
	r, err := c.Latest(ctx, "stable", "amd64", "", have)
	if err != nil {
		return err
	}
	f.have.Store(r.ID)
	if r.Release.Version != version {
		return fmt.Errorf("sees release %s instead of %s", r.Release.Version, version)
	}
	return nil
}

// countedConn counts what goes over a connection.
type countedConn struct {
	net.Conn
	moved *atomic.Int64
}

func (c *countedConn) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	c.moved.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(data []byte) (int, error) {
	n, err := c.Conn.Write(data)
	c.moved.Add(int64(n))
	return n, err
}
