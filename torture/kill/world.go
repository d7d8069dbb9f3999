//go:build linux && amd64

package kill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"tufboot/grub"
	"tufboot/metadata"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

const (
	arch    = "amd64"
	channel = "stable"
	// kernelSize and initramfsSize are the artifacts' sizes in bytes: small, but the
	// second has a chunk map, and is more than two of the agent's buffers.
	kernelSize    = 100_000
	initramfsSize = 1_300_001
)

// world is what all nodes of a run share: programs, and a repository that is served.
type world struct {
	dir      string
	agent    string
	repoTool string
	launch   string
	root     []byte // root.json that nodes trust
	server   *httptest.Server
	// releases are the digests of what a slot holds of a release that boots, by version
	// and file.
	releases map[string]map[string]string
}

// newWorld builds the programs as the Makefile does, and publishes the releases 1 to 3.
func newWorld(ctx context.Context, dir string) (*world, error) {
	w := &world{
		dir: dir, agent: filepath.Join(dir, "agent"), repoTool: filepath.Join(dir, "repo-tool"), launch: filepath.Join(dir, "launch"),
		releases: map[string]map[string]string{},
	}
	for program, flags := range map[string][]string{
		"agent": {"-gcflags=all=-l", "-ldflags=-s -w -funcalign=4"}, "repo-tool": {"-ldflags=-s -w"}, "torture/kill/launch": nil,
	} {
		args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs", "-o", filepath.Join(dir, filepath.Base(program))}, flags...)
		cmd := exec.CommandContext(ctx, "go", append(args, "tufboot/"+program)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", program, err, out)
		}
	}
	return w, w.publishAll(ctx)
}

func (w *world) close() {
	if w.server != nil {
		w.server.Close()
	}
}

// url is where the repository is served as it was when its newest release was this one.
func (w *world) url(newest string) string { return w.server.URL + "/" + newest }

// publishAll makes the repository, with a copy of it after each release.
func (w *world) publishAll(ctx context.Context) error {
	roles, err := repository.MakeKeys(w.path("keys"), repository.KeyPlan{Type: repository.Ed25519, RootKeys: 1, RootThreshold: 1}, nil)
	if err != nil {
		return err
	}
	keys, err := repository.OpenKeys([]string{w.path("keys")}, func(string) ([]byte, error) { return nil, nil })
	if err != nil {
		return err
	}
	repo, err := repository.Create(ctx, storage.NewFolder(w.path("repo")), repository.CreateOptions{Roles: roles, Keys: keys})
	if err != nil {
		return err
	}
	if w.root, err = os.ReadFile(w.path("repo", "metadata", "1.root.json")); err != nil {
		return err
	}
	if err := os.WriteFile(w.path("root.json"), w.root, 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll(w.path("served"), 0o700); err != nil {
		return err
	}
	for _, version := range []string{"1", "2", "3"} {
		if err := errors.Join(os.WriteFile(w.path(version+".vmlinuz"), kernel(version), 0o600),
			os.WriteFile(w.path(version+".initramfs"), initramfs(version), 0o600)); err != nil {
			return err
		}
		p, err := repo.Publish(ctx, repository.PublishOptions{
			Version: version, Arch: arch, Channel: channel, Keys: keys, Cmdline: cmdlineOf(version),
			Kernel: w.path(version + ".vmlinuz"), Initramfs: w.path(version + ".initramfs"),
		})
		if err != nil {
			return err
		}
		if err := w.note(p.Release); err != nil {
			return err
		}
		if err := run("cp", "-a", w.path("repo"), w.path("served", version)); err != nil {
			return err
		}
	}
	w.server = httptest.NewServer(http.FileServer(http.Dir(w.path("served"))))
	return nil
}

func cmdlineOf(version string) string { return "quiet release=" + version }

// note keeps what a slot must hold of a release.
func (w *world) note(r *metadata.Release) error {
	manifest, err := r.Encode()
	if err != nil {
		return err
	}
	cmdline, err := grub.CmdlineConfig(r.Cmdline)
	if err != nil {
		return err
	}
	w.releases[r.Version] = map[string]string{
		metadata.ManifestFile: sum(manifest), grub.CmdlineFile: sum(cmdline),
		metadata.KernelFile: sum(kernel(r.Version)), metadata.InitramfsFile: sum(initramfs(r.Version)),
	}
	folder := w.path("slots", r.Version)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		metadata.ManifestFile: manifest, grub.CmdlineFile: cmdline,
		metadata.KernelFile: kernel(r.Version), metadata.InitramfsFile: initramfs(r.Version),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// noise does not compress, and is the same for the same name.
func noise(name string, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(b)
	return b
}

func kernel(version string) []byte { return noise("kernel "+version, kernelSize) }

// initramfs of release 3 differs from that of 2 in the middle, the others in all.
func initramfs(version string) []byte {
	if version != "3" {
		return noise("initramfs "+version, initramfsSize)
	}
	b := slices.Clone(initramfs("2"))
	copy(b[initramfsSize/2:], noise("initramfs 3", 200_000))
	return b
}

// run runs a program of the system.
func run(name string, args ...string) error {
	_, err := output(nil, name, args...)
	return err
}

func output(stdin []byte, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %q: %w: %s", name, args, err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}
