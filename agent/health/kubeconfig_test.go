package health_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tufboot/agent/health"
)

// api is an API server over TLS that lets in who shows the token or a client
// certificate of its authority.
type api struct {
	*httptest.Server
	token     string
	ca        string // PEM: of the server's certificate and of clients'
	cert, key string // PEM: of a client
}

func newAPI(t *testing.T, paths map[string]http.HandlerFunc) *api {
	t.Helper()
	a := &api{token: "secret-token"}
	mux := http.NewServeMux()
	for path, h := range paths {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+a.token && len(r.TLS.PeerCertificates) == 0 {
				text(401, `{"kind":"Status","message":"Unauthorized"}`)(w, r)
				return
			}
			h(w, r)
		})
	}
	a.Server = httptest.NewUnstartedServer(mux)
	clientCA := x509.NewCertPool()
	var clientPEM string
	a.cert, a.key, clientPEM = clientCert(t)
	clientCA.AppendCertsFromPEM([]byte(clientPEM))
	a.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clientCA}
	a.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are what some tests are about
	a.StartTLS()
	t.Cleanup(a.Close)
	a.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}))
	return a
}

// clientCert makes a self-signed client certificate.
func clientCert(t *testing.T) (cert, key, ca string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "system:node:n1"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return cert, key, cert
}

// kubeconfigParts are the parts of a kubeconfig that a test replaces; the
// default of each works.
type kubeconfigParts struct {
	dir, server, cluster, user string
}

func (a *api) kubeconfig(t *testing.T, p kubeconfigParts) string {
	t.Helper()
	if p.dir == "" {
		p.dir = t.TempDir()
	}
	if p.server == "" {
		p.server = a.URL
	}
	if p.cluster == "" {
		p.cluster = "certificate-authority-data: " + b64(a.ca)
	}
	if p.user == "" {
		p.user = "token: " + a.token
	}
	path := filepath.Join(p.dir, "config")
	write(t, path, fmt.Sprintf(`apiVersion: v1
kind: Config
preferences: {}
current-context: here
contexts:
- {name: elsewhere, context: {cluster: other, user: other}}
- {name: here, context: {cluster: c, user: u, namespace: default}}
clusters:
- {name: other, cluster: {server: "https://192.0.2.1"}}
- name: c
  cluster:
    server: %s
    %s
users:
- {name: other, user: {exec: {command: aws}}}
- name: u
  user:
    %s
`, p.server, p.cluster, p.user))
	return path
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKubeconfig(t *testing.T) {
	a := newAPI(t, map[string]http.HandlerFunc{"/readyz": text(200, "ok")})
	proxied := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied++
		w.WriteHeader(http.StatusTeapot)
	}))
	defer proxy.Close()
	dir := t.TempDir()
	for name, data := range map[string]string{
		"ca.crt": a.ca, "client.crt": a.cert, "client.key": a.key, "token": a.token + "\n", "empty": "\n", "huge": strings.Repeat("x", 2<<20),
		"both.pem": a.cert + a.key,
	} {
		write(t, filepath.Join(dir, name), data)
	}
	const ca = "certificate-authority: ca.crt"
	u, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	byName := "https://example.com:" + u.Port() // a name of httptest's certificate

	for _, tt := range []struct {
		name, server, cluster, user string
		want                        string
	}{
		{name: "everything inline"},
		{name: "CA file, relative", cluster: ca},
		{name: "CA file, absolute", cluster: "certificate-authority: " + dir + "/ca.crt"},
		{name: "CA data wins over file", cluster: "certificate-authority-data: " + b64(a.ca) + "\n    certificate-authority: none"},
		{name: "server with a slash", server: a.URL + "/"},
		{name: "token file, relative", user: "tokenFile: token"},
		{name: "token file wins over token", user: "{token: wrong, tokenFile: " + dir + "/token}"},
		{name: "client certificate inline", user: "{client-certificate-data: " + b64(a.cert) + ", client-key-data: " + b64(a.key) + "}"},
		{name: "client certificate in files", user: "{client-certificate: client.crt, client-key: " + dir + "/client.key}"},
		{name: "client certificate and key in one file", user: "{client-certificate: both.pem, client-key: both.pem}"},
		{name: "TLS server name", cluster: ca + "\n    tls-server-name: example.com"},

		{name: "wrong TLS server name", cluster: ca + "\n    tls-server-name: other.example", want: "not other.example"},
		{name: "no CA", cluster: "x: y", want: "certificate signed by unknown authority"},
		{name: "another CA", cluster: "certificate-authority-data: " + b64(a.cert), want: "certificate signed by unknown authority"},
		{name: "CA file missing", cluster: "certificate-authority: none", want: "none: no such file"},
		{name: "CA is garbage", cluster: "certificate-authority: token", want: "holds no certificate"},
		{name: "CA data is not base64", cluster: "certificate-authority-data: '!'", want: "illegal base64"},
		{name: "wrong token", user: "token: wrong", want: "401"},
		{name: "no credentials", user: "x: y", want: "401"},
		{name: "token file missing", user: "tokenFile: none", want: "none: no such file"},
		{name: "token file empty", user: "tokenFile: empty", want: "empty is empty"},
		{name: "token file huge", user: "tokenFile: huge", want: "longer than 1048576 bytes"},
		{name: "token with a newline", user: `token: "a\nb"`, want: "invalid header field value"},
		{name: "certificate without key", user: "client-certificate: client.crt", want: "client certificate"},
		{name: "key without certificate", user: "client-key: client.key", want: "client-key without client-certificate"},
		{name: "key of another", user: "{client-certificate: client.crt, client-key: client.crt}", want: "client certificate"},
		{name: "exec plugin", user: "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}", want: "exec credential plugins are not supported"},
		{name: "exec plugin without content", user: "exec: {}", want: "exec credential plugins are not supported"},
		{name: "exec plugin beside a token", user: "{token: " + a.token + ", exec: {command: aws}}", want: "exec credential plugins are not supported"},
		{name: "auth provider", user: "auth-provider: {name: gcp}", want: "auth-provider is not supported"},
		{name: "impersonation", user: "{token: " + a.token + ", as: root}", want: "impersonation"},
		{name: "password", user: "{username: a, password: b}", want: "password is not supported"},
		{name: "token over http", server: "http://127.0.0.1:1", want: "token over plain http"},
		{name: "no scheme", server: "10.0.0.1", want: "is not a URL"},
		{name: "other scheme", server: "ftp://10.0.0.1", want: "only https and http"},
		{name: "no server", server: `""`, want: "is not a URL"},
		{name: "proxy-url", cluster: ca + "\n    proxy-url: " + proxy.URL, want: "I'm a teapot"},
		{name: "bad proxy-url", cluster: ca + "\n    proxy-url: '::'", want: "proxy-url"},
		{name: "host not resolvable", server: strings.Replace(byName, "example.com", "name.invalid", 1), cluster: ca, want: "name.invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := a.kubeconfig(t, kubeconfigParts{dir: dir, server: tt.server, cluster: tt.cluster, user: tt.user})
			r := runOnce(t, health.APIServer(health.KubeOptions{Kubeconfig: path}), time.Minute)
			if r.Passed != (tt.want == "") || !strings.Contains(r.Error, tt.want) {
				t.Errorf("passed %v, error %q, want %q", r.Passed, r.Error, tt.want)
			}
			if !r.Passed && !strings.Contains(r.Error, path) {
				t.Errorf("the error does not name the file: %s", r.Error)
			}
			if strings.Contains(r.Error, a.token) {
				t.Errorf("the error tells the token: %s", r.Error)
			}
		})
	}
	if proxied != 1 {
		t.Errorf("the proxy of the kubeconfig was asked %d times", proxied)
	}
}

func TestKubeconfigFiles(t *testing.T) {
	dir := t.TempDir()
	cluster := `clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]` + "\n"
	context := "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := range 20 {
		fmt.Fprintf(&bomb, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i+1, i+1, i, i, i, i, i, i, i)
	}
	bomb.WriteString("clusters: *a20\n")
	for _, tt := range []struct{ name, data, want string }{
		{"empty", "", "no current-context"},
		{"not YAML", "\t{", "yaml"},
		{"a list", "[]", "yaml"},
		{"a kubeconfig of k3s before it is ready", "apiVersion: v1\nkind: Config\n", "no current-context"},
		{"context missing", "current-context: y\ncontexts: [{name: x}]\n", `current-context "y" is not among`},
		{"cluster missing", context, `cluster "c" is not among`},
		{"user missing", context + cluster, `user "u" is not among`},
		{"huge", strings.Repeat("#\n", 1<<20), "longer than 1048576 bytes"},
		{"alias bomb", bomb.String(), "yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, "config")
			write(t, path, tt.data)
			r := runOnce(t, health.APIServer(health.KubeOptions{Kubeconfig: path}), time.Minute)
			if r.Passed || !strings.Contains(r.Error, tt.want) || !strings.Contains(r.Error, path) {
				t.Errorf("got %q, want %q", r.Error, tt.want)
			}
		})
	}
}

func TestPlainHTTPWithoutCredentials(t *testing.T) {
	srv := httptest.NewServer(text(200, "ok"))
	defer srv.Close()
	a := newAPI(t, nil)
	path := a.kubeconfig(t, kubeconfigParts{server: srv.URL, user: "x: y"})
	if r := runOnce(t, health.APIServer(health.KubeOptions{Kubeconfig: path}), time.Minute); !r.Passed {
		t.Error(r.Error)
	}
}

// TestWhichCredentials walks down the documented order: each source is used
// when it is there, whatever comes later, and never skipped because it is broken.
func TestWhichCredentials(t *testing.T) {
	a := newAPI(t, map[string]http.HandlerFunc{"/readyz": text(200, "ok")})
	good := a.kubeconfig(t, kubeconfigParts{})
	bad := filepath.Join(t.TempDir(), "bad")
	write(t, bad, "broken")
	none := filepath.Join(t.TempDir(), "none")
	u, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	inPod := map[string]string{"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port()}
	with := func(env map[string]string, kubeconfig string) map[string]string {
		m := map[string]string{"KUBECONFIG": kubeconfig}
		for k, v := range env {
			m[k] = v
		}
		return m
	}
	account := func(files map[string]string) string {
		dir := t.TempDir()
		for name, data := range files {
			write(t, filepath.Join(dir, name), data)
		}
		return dir
	}
	goodAccount := account(map[string]string{"token": a.token, "ca.crt": a.ca})
	noAccount := account(nil)

	for _, tt := range []struct {
		name     string
		explicit string
		env      map[string]string
		account  string
		defaults []string
		want     string
	}{
		{"explicit", good, with(inPod, bad), goodAccount, []string{bad}, ""},
		{"explicit and missing", none, with(inPod, good), goodAccount, []string{good}, "none: no such file"},
		{"KUBECONFIG", "", with(inPod, good), account(map[string]string{"token": "wrong"}), []string{bad}, ""},
		{"KUBECONFIG broken", "", with(inPod, bad), goodAccount, []string{good}, "bad: yaml"},
		{"KUBECONFIG missing", "", with(inPod, none), goodAccount, []string{good}, "none: no such file"},
		{"KUBECONFIG with two files", "", with(nil, good+":"+good), noAccount, nil, "names 2 files"},
		{"service account", "", inPod, goodAccount, []string{bad}, ""},
		{"service account, wrong token", "", inPod, account(map[string]string{"token": "wrong", "ca.crt": a.ca}), []string{good}, "credentials of the service account are not accepted"},
		{"service account without CA", "", inPod, account(map[string]string{"token": a.token}), []string{good}, "ca.crt: no such file"},
		{"service account, empty token", "", inPod, account(map[string]string{"token": "", "ca.crt": a.ca}), []string{good}, "token is empty"},
		{"pod without a service account", "", inPod, noAccount, []string{none, good}, ""},
		{"token without the environment of a pod", "", nil, goodAccount, []string{good}, ""},
		{"default", "", nil, noAccount, []string{none, good, bad}, ""},
		{"default broken", "", nil, noAccount, []string{none, bad, good}, "bad: yaml"},
		{"nothing", "", nil, noAccount, []string{none}, "no way to reach the API server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := runOnce(t, health.APIServer(health.KubeOptions{
				Kubeconfig: tt.explicit, Getenv: func(k string) string { return tt.env[k] },
				ServiceAccountDir: tt.account, DefaultKubeconfigs: tt.defaults,
			}), time.Minute)
			if r.Passed != (tt.want == "") || !strings.Contains(r.Error, tt.want) {
				t.Errorf("passed %v, error %q, want %q", r.Passed, r.Error, tt.want)
			}
		})
	}
}

func TestDefaultKubeconfigsAreAbsoluteAndDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range health.DefaultKubeconfigs() {
		if !filepath.IsAbs(p) || seen[p] {
			t.Errorf("%q", p)
		}
		seen[p] = true
	}
}
