package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// kube is what the two API server checks share.
type kube struct {
	KubeOptions
	warned sync.Once
}

func newKube(o KubeOptions) *kube {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.ServiceAccountDir == "" {
		o.ServiceAccountDir = serviceAccountDir
	}
	if o.DefaultKubeconfigs == nil {
		o.DefaultKubeconfigs = DefaultKubeconfigs()
	}
	if o.BootIDFile == "" {
		o.BootIDFile = bootIDFile
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &kube{KubeOptions: o}
}

// warn tells once of a configuration that is honoured and unwise.
func (k *kube) warn(c *kubeConfig) {
	if c.insecure {
		k.warned.Do(func() {
			k.Logger.Warn("insecure-skip-tls-verify is set: anyone on the network can pose as the API server", "source", c.source)
		})
	}
}

// config finds the credentials; see KubeOptions.Kubeconfig for the order.
func (k *kube) config() (*kubeConfig, error) {
	if k.Kubeconfig != "" {
		return readKubeconfig(k.Kubeconfig)
	}
	if env := k.Getenv("KUBECONFIG"); env != "" {
		if files := filepath.SplitList(env); len(files) != 1 {
			return nil, fmt.Errorf("KUBECONFIG names %d files; merging is not supported, name one", len(files))
		}
		return readKubeconfig(env)
	}
	token := filepath.Join(k.ServiceAccountDir, "token")
	if host := k.Getenv("KUBERNETES_SERVICE_HOST"); host != "" && exists(token) {
		return k.inCluster(host, token)
	}
	for _, path := range k.DefaultKubeconfigs {
		if exists(path) {
			return readKubeconfig(path)
		}
	}
	return nil, fmt.Errorf("no way to reach the API server: no kubeconfig is configured, KUBECONFIG is not set, there is no service account, and none of the %d usual files exists (%s, ...)",
		len(k.DefaultKubeconfigs), strings.Join(k.DefaultKubeconfigs[:min(3, len(k.DefaultKubeconfigs))], ", "))
}

// exists reports whether something is at path. What is there and cannot be
// looked at counts, so that using it fails loudly.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func (k *kube) inCluster(host, tokenFile string) (*kubeConfig, error) {
	port := k.Getenv("KUBERNETES_SERVICE_PORT")
	if port == "" {
		port = "443"
	}
	ca, err := readLimited(filepath.Join(k.ServiceAccountDir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("service account: %w", err)
	}
	token, err := readToken(tokenFile)
	if err != nil {
		return nil, fmt.Errorf("service account: %w", err)
	}
	server := &url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)}
	return &kubeConfig{source: "the service account", server: server, ca: ca, token: token}, nil
}

// kubeConfig is a way to the API server, with every file already read.
type kubeConfig struct {
	source     string // for messages
	server     *url.URL
	proxy      *url.URL // nil: none
	serverName string   // "": the host of server
	insecure   bool
	ca         []byte // PEM; nil: the system's roots
	cert, key  []byte // PEM; nil: none
	token      string // "": none
}

// client returns a client that asks once: no redirects, which could carry the
// credentials elsewhere, no proxy from the environment, which is meant for the
// world outside, and no connection left from an earlier run.
func (c *kubeConfig) client() (*http.Client, error) {
	conf := &tls.Config{ServerName: c.serverName, InsecureSkipVerify: c.insecure}
	if c.ca != nil && !c.insecure {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(c.ca) {
			return nil, errors.New("the cluster's certificate authority holds no certificate")
		}
	}
	if c.cert != nil {
		pair, err := tls.X509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true, MaxResponseHeaderBytes: maxReadyz}
	if c.proxy != nil {
		transport.Proxy = http.ProxyURL(c.proxy)
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: transport, CheckRedirect: refuse}, nil
}

func (c *kubeConfig) request(ctx context.Context, path string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server.JoinPath(path).String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "tufboot")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// get asks the API server for path and returns the body of a 200 answer of at
// most limit bytes.
func (k *kube) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	conf, err := k.config()
	if err != nil {
		return nil, err
	}
	client, err := conf.client()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", conf.source, err)
	}
	defer client.CloseIdleConnections()
	k.warn(conf)

	req, err := conf.request(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", conf.source, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("API server (by %s): %w", conf.source, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("GET %s: read the answer: %w", req.URL, err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("GET %s: the answer is longer than %d bytes", req.URL, limit)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %w", req.URL, refusal(resp, body, conf.source))
	}
	return body, nil
}

// refusal turns an answer other than 200 into an error.
func refusal(resp *http.Response, body []byte, source string) error {
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return fmt.Errorf("%s: the credentials of %s are not accepted", resp.Status, source)
	case http.StatusForbidden:
		return fmt.Errorf("%s: the user of %s lacks the permission: %s", resp.Status, source, apiMessage(body))
	}
	return fmt.Errorf("%s: %s", resp.Status, apiMessage(body))
}

// apiMessage returns what an error answer says: the message of a v1.Status, or
// of a readyz report the lines that failed.
func apiMessage(body []byte) string {
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		return clean(status.Message)
	}
	var failed []string
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "[-]") {
			failed = append(failed, strings.TrimSpace(line))
		}
	}
	if len(failed) > 0 {
		return clean(strings.Join(failed, ", "))
	}
	return clean(string(body))
}
