package health

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v2"
)

// maxCredentials limits every file of credentials that is read, in bytes.
const maxCredentials = 1 << 20

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
	if c.cert == nil && c.key != nil {
		return errors.New("client-key without client-certificate")
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
