// Package interop holds the proof that a repository made here is read by a TUF
// client that shares no code with ours: tuf-js.
package interop

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// TestTUFJS publishes with each type of key, walks a root of two versions, and
// lets tuf-js download all targets. A spoiled repository must fail, or the
// script would prove nothing.
func TestTUFJS(t *testing.T) {
	if testing.Short() {
		t.Skip("npm fetches tuf-js; run without -short")
	}
	client := installClient(t)
	for _, keyType := range []repository.KeyType{repository.Ed25519, repository.ECDSA, repository.RSA} {
		t.Run(string(keyType), func(t *testing.T) {
			dir, kernel := publish(t, keyType)
			want := []string{"channels/stable.json", "releases/1.0/amd64/initramfs", "releases/1.0/amd64/release.json", "releases/1.0/amd64/vmlinuz"}
			out, err := client.read(t, dir, want...)
			if err != nil {
				t.Fatalf("tuf-js: %v\n%s", err, out)
			}
			names := strings.Fields(out)
			if !slices.Equal(names, want) {
				t.Errorf("tuf-js read %q, want %q", names, want)
			}
			if err := os.WriteFile(kernel, []byte("kernal"), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := client.read(t, dir, want...); err == nil {
				t.Errorf("tuf-js accepts a spoiled kernel:\n%s", out)
			}
		})
	}
}

// publish makes a repository with one release and a second root version, and
// returns its folder and the path of the kernel in it.
func publish(t *testing.T, keyType repository.KeyType) (dir, kernel string) {
	t.Helper()
	ctx, keysDir, dir := t.Context(), t.TempDir(), t.TempDir()
	roles, err := repository.MakeKeys(keysDir, repository.KeyPlan{Type: keyType, RootKeys: 3, RootThreshold: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := repository.OpenKeys([]string{keysDir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := repository.Create(ctx, storage.NewFolder(dir), repository.CreateOptions{Roles: roles, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	opts := repository.PublishOptions{
		Version: "1.0", Arch: "amd64", Channel: "stable", Keys: keys,
		Kernel: filepath.Join(keysDir, "vmlinuz"), Initramfs: filepath.Join(keysDir, "initrd"),
	}
	for _, path := range []string{opts.Kernel, opts.Initramfs} {
		if err := os.WriteFile(path, []byte("kernel"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := repo.Publish(ctx, opts); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Refresh(ctx, repository.RefreshOptions{Keys: keys, All: true}); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "targets/releases/1.0/amd64/*.vmlinuz"))
	if err != nil || len(found) != 1 {
		t.Fatalf("kernel: %q, %v", found, err)
	}
	return dir, found[0]
}

// tufJS is the installed client.
type tufJS struct{ node, dir string }

// installClient installs the locked versions into a temporary folder.
func installClient(t *testing.T) tufJS {
	t.Helper()
	const advice = "install the Debian packages: apt install nodejs npm"
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Fatalf("%v; %s", err, advice)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("%v; %s", err, advice)
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "read.js"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci (needs the npm registry or npm's cache): %v\n%s", err, out)
	}
	return tufJS{node, dir}
}

// read serves the repository, as repo-tool serve does, and lets the client read
// the targets.
func (c tufJS) read(t *testing.T, repo string, targets ...string) (string, error) {
	t.Helper()
	handler, err := repository.NewHandler(repo)
	if err != nil {
		t.Fatal(err)
	}
	defer handler.Close()
	server := httptest.NewServer(handler)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, c.node, append([]string{"read.js", server.URL + "/", filepath.Join(repo, "metadata", "1.root.json"), t.TempDir()}, targets...)...)
	cmd.Dir = c.dir
	// A proxy has no business between two programs on this machine.
	cmd.Env = append(os.Environ(), "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String() + stderr.String(), err
	}
	return stdout.String(), nil
}
