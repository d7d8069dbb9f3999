package health

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzKubeconfig reads any bytes as a kubeconfig: an error or a server, never a
// panic.
func FuzzKubeconfig(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:6443', certificate-authority-data: Zm9v}}]\nusers: [{name: u, user: {token: t}}]\n"))
	f.Add([]byte("current-context: a\ncontexts: [null]\nclusters: null\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := readKubeconfig(path); err == nil && c == nil {
			t.Error("neither an error nor a configuration")
		}
	})
}
