package interop

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// TestTakeOver takes repositories over that were made by the tools of others,
// and lets every client walk into them from the old root.
func TestTakeOver(t *testing.T) {
	clients := allClients(t)
	js := installJS(t)
	tuf := buildTool(t, "github.com/theupdateframework/go-tuf/cmd/tuf")
	for name, old := range map[string]oldRepo{
		"go-tuf v0.7":                         tuf.writeV07(t, "true"),
		"go-tuf v0.7, no consistent snapshot": tuf.writeV07(t, "false"),
		"repo-mock of tuf-js":                 js.write(t),
	} {
		taken := old.takeOver(t)
		for _, c := range clients {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				got, err := c.read(t, serve(t, taken.dir), old.root, append(releaseFiles("1.0"), stable, "app/hello.txt"))
				if err != nil {
					t.Fatal(err)
				}
				if got["app/hello.txt"] != "hello" || got[releaseFiles("1.0")[0]] != "vmlinuz 1.0" {
					t.Errorf("read %q", got)
				}
			})
		}
	}
}

// oldRepo is a repository made by another tool.
type oldRepo struct{ dir, root, keys string }

// takeOver makes it one of ours and publishes a release to it.
func (o oldRepo) takeOver(t *testing.T) *repo {
	t.Helper()
	newKeys, dir := t.TempDir(), t.TempDir()
	plan := repository.KeyPlan{Type: repository.Ed25519, RootKeys: 1, RootThreshold: 1}
	roles, err := repository.MakeKeysFor(t.Context(), newKeys, plan, []string{repository.Releases}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := repository.OpenKeys([]string{newKeys, o.keys}, nil)
	if err != nil {
		t.Fatal(err)
	}
	to := storage.NewFolder(dir)
	if _, err := repository.Import(t.Context(), storage.NewFolder(o.dir), to, repository.ImportOptions{Keys: keys, Roles: roles}); err != nil {
		t.Fatal(err)
	}
	r, err := repository.Open(t.Context(), to, repository.Options{})
	if err != nil {
		t.Fatal(err)
	}
	taken := &repo{r, dir, newKeys, keys}
	taken.publish(t, "1.0")
	if _, err := repository.Verify(t.Context(), to, repository.VerifyOptions{}); err != nil {
		t.Error(err)
	}
	return taken
}

// write makes a repository with @tufjs/repo-mock: one ECDSA key for all roles, no
// consistent snapshots.
func (js tufJS) write(t *testing.T) oldRepo {
	t.Helper()
	dir, keys := t.TempDir(), t.TempDir()
	if _, err := js.run(t, js.dir, "write.js", dir, keys, "app/hello.txt=hello"); err != nil {
		t.Fatal(err)
	}
	return oldRepo{dir, filepath.Join(dir, "metadata", "1.root.json"), keys}
}

// writeV07 makes a repository with the command line of go-tuf v0.7: two root
// keys that must both sign, three roots, metadata beside targets/, SHA-512.
func (p program) writeV07(t *testing.T, consistent string) oldRepo {
	t.Helper()
	dir := t.TempDir()
	tuf := func(args ...string) {
		t.Helper()
		if _, err := p.run(t, dir, append([]string{"--insecure-plaintext"}, args...)...); err != nil {
			t.Fatalf("tuf %s: %v", strings.Join(args, " "), err)
		}
	}
	tuf("init", "--consistent-snapshot="+consistent)
	for _, role := range []string{"root", "root", "targets", "snapshot", "timestamp"} {
		tuf("gen-key", role)
	}
	tuf("set-threshold", "root", "2")
	staged := filepath.Join(dir, "staged", "targets", "app")
	if err := os.MkdirAll(staged, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(staged, "hello.txt"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	tuf("add", "app/hello.txt")
	tuf("snapshot")
	tuf("timestamp")
	tuf("commit")
	for range 2 {
		tuf("gen-key", "timestamp")
		tuf("snapshot")
		tuf("timestamp")
		tuf("commit")
	}
	repo := filepath.Join(dir, "repository")
	return oldRepo{repo, filepath.Join(repo, "1.root.json"), convertKeys(t, filepath.Join(dir, "keys"))}
}

// convertKeys writes the keys of go-tuf v0.7, a JSON format of its own, as PEM.
func convertKeys(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	files, err := filepath.Glob(filepath.Join(from, "*.json"))
	if err != nil || len(files) != 4 {
		t.Fatalf("keys: %q, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var keys struct {
			Data []struct {
				KeyVal struct{ Private string }
			}
		}
		if err := json.Unmarshal(data, &keys); err != nil {
			t.Fatal(err)
		}
		for i, key := range keys.Data {
			private, err := hex.DecodeString(key.KeyVal.Private)
			if err != nil || len(private) != ed25519.PrivateKeySize {
				t.Fatalf("%s: %d bytes, %v", file, len(private), err)
			}
			name := strings.TrimSuffix(filepath.Base(file), ".json") + "-" + string(rune('1'+i))
			if _, err := repository.WriteKey(to, name, ed25519.PrivateKey(private), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	return to
}
