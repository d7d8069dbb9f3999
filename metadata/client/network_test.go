package client_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tufboot/internal/console"
	"tufboot/internal/faultproxy"
	"tufboot/metadata/client"
)

// TestResetAtEveryKilobyte has all connections reset after so many kilobytes, until
// the client gives up, and starts another one as the next run of an agent does. It
// goes on from what was written, and no byte comes twice.
func TestResetAtEveryKilobyte(t *testing.T) {
	const kilobytes = 160
	r, a, data := payloadRepo(t, kilobytes<<10)
	seed := edited(data, 3, 8000)
	for name, delta := range map[string]client.Delta{
		"whole": {},
		"delta": {Map: mapOf(t, data), MaxRequests: 48, Seeds: []client.Seed{{Name: "seed", Content: bytes.NewReader(seed), Size: int64(len(seed))}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := faultproxy.New(http.FileServer(http.Dir(r.dir)))
			t.Cleanup(p.Close)
			transport := p.Transport()
			t.Cleanup(transport.CloseIdleConnections)
			opts := options(t, r, "http://repo.example")
			opts.Transport = transport
			for k := range kilobytes {
				p.Spoil(nil)
				c, next := refreshed(t, opts), refreshed(t, opts)
				p.Spoil(faultproxy.On("payload", faultproxy.Reset(k<<10)))
				var got bytes.Buffer
				first, err := c.DownloadDelta(t.Context(), a, delta, nil, &got, nil)
				if err != nil {
					wantReason(t, err, client.ReasonStalled)
				}
				held := bytes.Clone(got.Bytes())
				if !bytes.HasPrefix(data, held) {
					t.Fatalf("after resets at %d KiB other bytes are held", k)
				}
				p.Spoil(nil)
				second, err := next.DownloadDelta(t.Context(), a, delta, bytes.NewReader(held), &got, nil)
				must(t, err)
				if !bytes.Equal(got.Bytes(), data) {
					t.Fatalf("after resets at %d KiB other bytes than were published", k)
				}
				if first.Fetched+second.Fetched > int64(len(data)) || first.Requests > 60 {
					t.Errorf("resets at %d KiB: %+v and then %+v, want at most %d bytes", k, first, second, len(data))
				}
			}
		})
	}
}

// TestResetOverTCP is the same for some kilobytes over real connections, where a
// reset also takes what was on its way.
func TestResetOverTCP(t *testing.T) {
	r, a, data := payloadRepo(t, 300_000)
	p := faultproxy.New(http.FileServer(http.Dir(r.dir)))
	t.Cleanup(p.Close)
	address, err := p.Listen()
	must(t, err)
	for _, k := range []int{0, 1, 10, 100, 200} {
		p.Spoil(nil)
		c := refreshed(t, options(t, r, "http://"+address))
		p.Spoil(faultproxy.On("payload", faultproxy.Times(3, faultproxy.Reset(k<<10))))
		var got bytes.Buffer
		must(t, c.Download(t.Context(), a, nil, &got, nil))
		if !bytes.Equal(got.Bytes(), data) {
			t.Errorf("after resets at %d KiB other bytes than were published", k)
		}
	}
}

// certificate is one of a server.
type certificate struct {
	name     string
	host     string
	from, to time.Duration // validity, from the client's time on
	trusted  bool          // the client trusts who has signed it
	works    bool
}

// TestCertificates shows that a server with a wrong certificate is asked nothing,
// and that it is not tried again.
func TestCertificates(t *testing.T) {
	r := newRepo(t, "repo")
	for _, cert := range []certificate{
		{"good", "127.0.0.1", -day, day, true, true},
		{"of another host", "127.0.0.2", -day, day, true, false},
		{"of no authority", "127.0.0.1", -day, day, false, false},
		{"expired", "127.0.0.1", -2 * day, -day, true, false},
		{"of the future", "127.0.0.1", day, 2 * day, true, false},
	} {
		t.Run(cert.name, func(t *testing.T) {
			var connections, asked atomic.Int32
			files := http.FileServer(http.Dir(r.dir))
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				asked.Add(1)
				files.ServeHTTP(w, req)
			}))
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					connections.Add(1)
				}
			}
			own, roots := cert.make(t)
			s.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
			s.StartTLS()
			t.Cleanup(s.Close)
			c := open(t, options(t, r, s.URL))
			c.TrustServer(roots)
			err := c.Refresh(t.Context())
			if cert.works {
				must(t, err)
				return
			}
			wantReason(t, err, client.ReasonUnreachable)
			if !strings.Contains(console.Hint(err), "certificate") || asked.Load() != 0 || connections.Load() != 1 {
				t.Errorf("hint %q, %d requests, %d connections", console.Hint(err), asked.Load(), connections.Load())
			}
		})
	}
}

// make makes the certificate, and the authorities that the client trusts.
func (cert certificate) make(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: epoch.Add(cert.from), NotAfter: epoch.Add(cert.to),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.ParseIP(cert.host)},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	must(t, err)
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	roots := x509.NewCertPool()
	if cert.trusted {
		roots.AddCert(parsed)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// TestIPv6Literal connects to the address in the brackets.
func TestIPv6Literal(t *testing.T) {
	r := newRepo(t, "repo")
	hosts := make(chan string, 16)
	files := http.FileServer(http.Dir(r.dir))
	p := faultproxy.New(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		hosts <- req.Host
		files.ServeHTTP(w, req)
	}))
	t.Cleanup(p.Close)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		hosts <- address
		return p.Dial(ctx, network, address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	opts := options(t, r, "http://[2001:db8::1]:8080/")
	opts.Transport = transport
	must(t, refresh(t, opts))
	for len(hosts) > 0 {
		if got, want := <-hosts, "[2001:db8::1]:8080"; got != want {
			t.Errorf("connected to, or asked, %q, want %q", got, want)
		}
	}
}

// serverVariable has TestProxyChild refresh from a server.
const serverVariable = "TUFBOOT_TEST_SERVER"

// TestProxyVariables refreshes in other processes, since net/http reads the
// variables once. The host does not exist: only a proxy can reach it.
func TestProxyVariables(t *testing.T) {
	r := newRepo(t, "repo")
	root := filepath.Join(t.TempDir(), "root.json")
	must(t, os.WriteFile(root, r.roots[0], 0o600))
	for _, test := range []struct {
		name, server string
		variables    []string // PROXY stands for the proxy's address
		reason       string   // "": it works
		proxied      bool
	}{
		{"HTTP_PROXY", "http://repo.invalid", []string{"HTTP_PROXY=http://PROXY"}, "", true},
		{"http_proxy", "http://repo.invalid", []string{"http_proxy=http://PROXY"}, "", true},
		{"NO_PROXY", "http://repo.invalid", []string{"HTTP_PROXY=http://PROXY", "NO_PROXY=repo.invalid"}, client.ReasonUnreachable, false},
		{"HTTPS_PROXY that gives no tunnel", "https://repo.invalid", []string{"HTTPS_PROXY=http://PROXY"}, client.ReasonUnreachable, true},
		{"HTTPS_PROXY is not for http", "http://repo.invalid", []string{"HTTPS_PROXY=http://PROXY"}, client.ReasonUnreachable, false},
		{"no such host", "http://repo.invalid", nil, client.ReasonUnreachable, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := faultproxy.New(http.FileServer(http.Dir(r.dir)))
			t.Cleanup(p.Close)
			address, err := p.Listen()
			must(t, err)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyChild$", "-test.v", root)
			for _, v := range os.Environ() {
				if name, _, _ := strings.Cut(v, "="); !strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
					cmd.Env = append(cmd.Env, v)
				}
			}
			cmd.Env = append(cmd.Env, serverVariable+"="+test.server)
			for _, v := range test.variables {
				cmd.Env = append(cmd.Env, strings.Replace(v, "://PROXY", "://"+address, 1))
			}
			out, err := cmd.CombinedOutput()
			if want := fmt.Sprintf("reason=%q", test.reason); err != nil || !strings.Contains(string(out), want) {
				t.Errorf("want %s, got %s, %v", want, out, err)
			}
			if requests, _ := p.Taken(); (len(requests) > 0) != test.proxied {
				t.Errorf("the proxy was asked for %q", requests)
			}
		})
	}
}

// TestProxyChild is the other process of TestProxyVariables, and nothing by itself.
func TestProxyChild(t *testing.T) {
	server := os.Getenv(serverVariable)
	if server == "" {
		return
	}
	root, err := os.ReadFile(os.Args[len(os.Args)-1])
	must(t, err)
	err = refresh(t, client.Options{Server: server, Root: root, Dir: t.TempDir(), Now: func() time.Time { return epoch }})
	reason := ""
	if err != nil {
		reason = console.ReasonCode(err)
	}
	fmt.Printf("reason=%q %v\n", reason, err)
}
