// Package interop holds the proof that a repository made here is read by TUF
// clients that others wrote, and that a repository made by others can be taken
// over.
package interop

import (
	"crypto"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"tufboot/metadata"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// TestClients lets every client read repositories with each type of key, from
// root version 1 over a second one: a small one, whose channel stable has a key of
// its own, and one whose role releases is split into hash bins. A spoiled target
// must fail, or the test proves nothing.
func TestClients(t *testing.T) {
	clients := allClients(t)
	for _, keyType := range []repository.KeyType{repository.Ed25519, repository.ECDSA, repository.RSA} {
		small := newRepository(t, keyType)
		small.ownKey(t, keyType)
		small.publish(t, "1.0")
		large := newRepository(t, keyType)
		large.fill(t, 200)
		large.publish(t, "1.0")
		for _, c := range clients {
			t.Run(c.name+"/"+string(keyType), func(t *testing.T) {
				wantRead(t, c, small)
			})
			t.Run(c.name+"/"+string(keyType)+"/bins", func(t *testing.T) {
				if c.bins {
					wantRead(t, c, large)
					return
				}
				// The channel can still be read; a release is not found, and
				// nothing wrong is taken for one.
				url, root := serve(t, large.dir), large.root()
				if got, err := c.read(t, url, root, []string{stable}); err != nil || got[stable] == "" {
					t.Errorf("channel: %q, %v", got[stable], err)
				}
				var failed *exitError
				if _, err := c.read(t, url, root, releaseFiles("1.0")[:1]); !errors.As(err, &failed) {
					t.Errorf("reads a hash bin: %v; docs/repository.md says that it cannot", err)
				}
			})
		}
	}
}

const stable = "channels/stable.json"

// wantRead checks that a client reads what was published, and that it refuses a
// target with one other byte.
func wantRead(t *testing.T, c client, r *repo) {
	t.Helper()
	targets := append(releaseFiles("1.0"), stable)
	url := serve(t, r.dir)
	got, err := c.read(t, url, r.root(), targets)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range targets {
		want, err := os.ReadFile(r.file(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if got[name] != string(want) {
			t.Errorf("%s: read %q, want %q", name, got[name], want)
		}
	}
	kernel := r.file(t, releaseFiles("1.0")[0])
	good, err := os.ReadFile(kernel)
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(kernel, good, 0o644)
	if err := os.WriteFile(kernel, append([]byte("K"), good[1:]...), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.read(t, url, r.root(), targets); err == nil {
		t.Error("accepts a spoiled kernel")
	}
}

// releaseFiles returns the target names of a release, the kernel first.
func releaseFiles(version string) []string {
	var names []string
	for _, file := range []string{metadata.KernelFile, metadata.InitramfsFile, metadata.ManifestFile} {
		names = append(names, metadata.ReleaseTarget(version, "amd64", file))
	}
	return names
}

// repo is a repository made by this project.
type repo struct {
	*repository.Repository
	dir     string
	keysDir string
	keys    repository.Signers
}

// newRepository makes a repository whose root has three keys and needs two.
func newRepository(t *testing.T, keyType repository.KeyType) *repo {
	t.Helper()
	keysDir, dir := t.TempDir(), t.TempDir()
	roles, err := repository.MakeKeys(keysDir, repository.KeyPlan{Type: keyType, RootKeys: 3, RootThreshold: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := repository.OpenKeys([]string{keysDir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := repository.Create(t.Context(), storage.NewFolder(dir), repository.CreateOptions{Roles: roles, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return &repo{r, dir, keysDir, keys}
}

func (r *repo) root() string { return filepath.Join(r.dir, "metadata", "1.root.json") }

// ownKey gives the channel stable a role and a key of its own.
func (r *repo) ownKey(t *testing.T, keyType repository.KeyType) {
	t.Helper()
	file, err := repository.GenerateKeyFile(r.keysDir, "stable", keyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	public, err := repository.LoadPublicKey(file.PublicPath())
	if err != nil {
		t.Fatal(err)
	}
	if r.keys, err = repository.OpenKeys([]string{r.keysDir}, nil); err != nil {
		t.Fatal(err)
	}
	role := repository.ChannelRole("stable")
	if _, err := r.ChangeKeys(t.Context(), repository.ProposeOptions{Roles: map[string]repository.RoleEdit{
		role: {Add: []crypto.PublicKey{public}, Threshold: 1},
	}}, r.keys); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "metadata", "1."+role+".json")); err != nil {
		t.Fatal(err)
	}
}

// publish adds a release, and then signs every role again, root included.
func (r *repo) publish(t *testing.T, version string) {
	t.Helper()
	dir := t.TempDir()
	opts := repository.PublishOptions{
		Version: version, Arch: "amd64", Channel: "stable", Keys: r.keys,
		Kernel: filepath.Join(dir, "vmlinuz"), Initramfs: filepath.Join(dir, "initrd"),
	}
	for _, path := range []string{opts.Kernel, opts.Initramfs} {
		if err := os.WriteFile(path, []byte(filepath.Base(path)+" "+version), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Publish(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Refresh(t.Context(), repository.RefreshOptions{Keys: r.keys, All: true}); err != nil {
		t.Fatal(err)
	}
}

// fill adds that many targets to the role releases, in one step.
func (r *repo) fill(t *testing.T, targets int) {
	t.Helper()
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for n := range targets {
		name := metadata.ReleaseTarget("0."+strconv.Itoa(n), "amd64", metadata.KernelFile)
		if _, err := e.AddBytes(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Commit(t.Context(), r.keys); err != nil {
		t.Fatal(err)
	}
	if bins, err := filepath.Glob(filepath.Join(r.dir, "metadata", "1.releases-?.json")); err != nil || len(bins) != 16 {
		t.Fatalf("%d bins, %v", len(bins), err)
	}
}

// file returns the path of a target's bytes in the repository.
func (r *repo) file(t *testing.T, target string) string {
	t.Helper()
	dir, base := filepath.Split(filepath.FromSlash(target))
	found, err := filepath.Glob(filepath.Join(r.dir, "targets", dir, "*."+base))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %q, %v", target, found, err)
	}
	return found[len(found)-1]
}
