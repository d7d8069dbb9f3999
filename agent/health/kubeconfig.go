package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
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

	"go.yaml.in/yaml/v3"
)

// maxCredentials limits every file of credentials that is read, in bytes.
const maxCredentials = 1 << 20

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
	return nil, fmt.Errorf("no way to reach the API server: no kubeconfig is configured, KUBECONFIG is not set, there is no service account, and none of %s exists",
		strings.Join(k.DefaultKubeconfigs, ", "))
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

// kubeconfigFile is what is read of a kubeconfig; see
// https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/.
type kubeconfigFile struct {
	CurrentContext string `yaml:"current-context"`
	Contexts       []struct {
		Name    string `yaml:"name"`
		Context struct {
			Cluster string `yaml:"cluster"`
			User    string `yaml:"user"`
		} `yaml:"context"`
	} `yaml:"contexts"`
	Clusters []struct {
		Name    string         `yaml:"name"`
		Cluster kubeconfigHost `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		Name string         `yaml:"name"`
		User kubeconfigUser `yaml:"user"`
	} `yaml:"users"`
}

type kubeconfigHost struct {
	Server        string `yaml:"server"`
	TLSServerName string `yaml:"tls-server-name"`
	Insecure      bool   `yaml:"insecure-skip-tls-verify"`
	CAFile        string `yaml:"certificate-authority"`
	CAData        string `yaml:"certificate-authority-data"`
	ProxyURL      string `yaml:"proxy-url"`
}

type kubeconfigUser struct {
	CertFile     string         `yaml:"client-certificate"`
	CertData     string         `yaml:"client-certificate-data"`
	KeyFile      string         `yaml:"client-key"`
	KeyData      string         `yaml:"client-key-data"`
	Token        string         `yaml:"token"`
	TokenFile    string         `yaml:"tokenFile"`
	Exec         map[string]any `yaml:"exec"`
	AuthProvider map[string]any `yaml:"auth-provider"`
	Impersonate  string         `yaml:"as"`
	Username     string         `yaml:"username"`
}

// readKubeconfig reads the current context of the kubeconfig at path and the
// files that it refers to, which may be relative to it.
func readKubeconfig(path string) (*kubeConfig, error) {
	data, err := readLimited(path)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	var file kubeconfigFile
	if err := yaml.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	c, err := file.resolve(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	c.source = "kubeconfig " + path
	return c, nil
}

// resolve follows the current context to its cluster and user.
func (f *kubeconfigFile) resolve(dir string) (*kubeConfig, error) {
	if f.CurrentContext == "" {
		return nil, errors.New("it has no current-context")
	}
	for _, c := range f.Contexts {
		if c.Name != f.CurrentContext {
			continue
		}
		conf, err := f.cluster(c.Context.Cluster, dir)
		if err != nil {
			return nil, err
		}
		return conf, f.user(conf, c.Context.User, dir)
	}
	return nil, fmt.Errorf("the current-context %q is not among its contexts", f.CurrentContext)
}

func (f *kubeconfigFile) cluster(name, dir string) (*kubeConfig, error) {
	for _, c := range f.Clusters {
		if c.Name != name {
			continue
		}
		conf, err := c.Cluster.resolve(dir)
		if err != nil {
			return nil, fmt.Errorf("cluster %q: %w", name, err)
		}
		return conf, nil
	}
	return nil, fmt.Errorf("the cluster %q is not among its clusters", name)
}

func (h kubeconfigHost) resolve(dir string) (*kubeConfig, error) {
	c := &kubeConfig{serverName: h.TLSServerName, insecure: h.Insecure}
	var err error
	if c.server, err = url.Parse(h.Server); err != nil || c.server.Host == "" {
		return nil, fmt.Errorf("server %q is not a URL", h.Server)
	}
	if c.server.Scheme != "https" && c.server.Scheme != "http" {
		return nil, fmt.Errorf("server %q: only https and http are known", h.Server)
	}
	if h.ProxyURL != "" {
		if c.proxy, err = url.Parse(h.ProxyURL); err != nil {
			return nil, fmt.Errorf("proxy-url: %w", err)
		}
	}
	c.ca, err = dataOrFile("certificate-authority", h.CAData, h.CAFile, dir)
	return c, err
}

func (f *kubeconfigFile) user(conf *kubeConfig, name, dir string) error {
	for _, u := range f.Users {
		if u.Name != name {
			continue
		}
		if err := u.User.resolve(conf, dir); err != nil {
			return fmt.Errorf("user %q: %w", name, err)
		}
		return nil
	}
	return fmt.Errorf("the user %q is not among its users", name)
}

func (u kubeconfigUser) resolve(c *kubeConfig, dir string) error {
	switch {
	case u.Exec != nil:
		return errors.New("exec credential plugins are not supported: use a client certificate, a token or a token file")
	case u.AuthProvider != nil:
		return errors.New("auth-provider is not supported: use a client certificate, a token or a token file")
	case u.Impersonate != "":
		return errors.New("impersonation (as) is not supported")
	case u.Username != "":
		return errors.New("a user name with a password is not supported: Kubernetes dropped it in 1.19")
	}
	var err error
	if c.cert, err = dataOrFile("client-certificate", u.CertData, u.CertFile, dir); err != nil {
		return err
	}
	if c.key, err = dataOrFile("client-key", u.KeyData, u.KeyFile, dir); err != nil {
		return err
	}
	c.token = u.Token
	if u.TokenFile != "" { // wins over token, as in kubectl
		if c.token, err = readToken(inDir(dir, u.TokenFile)); err != nil {
			return err
		}
	}
	if c.token != "" && c.server.Scheme == "http" {
		return errors.New("it would send a token over plain http")
	}
	return nil
}

// dataOrFile returns the bytes of a kubeconfig field that comes as base64
// (which wins) or as the path of a file, or nil when it is absent.
func dataOrFile(field, data, file, dir string) ([]byte, error) {
	if data != "" {
		b, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, fmt.Errorf("%s-data: %w", field, err)
		}
		return b, nil
	}
	if file == "" {
		return nil, nil
	}
	b, err := readLimited(inDir(dir, file))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return b, nil
}

func inDir(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func readToken(path string) (string, error) {
	b, err := readLimited(path)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("token: %s is empty", path)
	}
	return token, nil
}

// readLimited reads a whole file, refusing one of more than maxCredentials.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCredentials+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxCredentials {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxCredentials)
	}
	return b, nil
}
