package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"tufboot/e2e/machine"
)

// Repo is a TUF repository and its keys.
type Repo struct {
	Name string // of its folder below Lab.Repos, and in its address
	Dir  string
	Keys string
	// Server is the repository's address as guests see it. It goes into the
	// configuration in each release.
	Server string

	lab *Lab
}

// NewRepo makes keys without passwords and an empty repository.
func (l *Lab) NewRepo(ctx context.Context, name string) (*Repo, error) {
	r := &Repo{Name: name, Dir: filepath.Join(l.Repos, name), Keys: filepath.Join(l.Dir, "keys", name), Server: l.Server.URL(name), lab: l}
	for _, dir := range []string{filepath.Dir(r.Keys), l.Repos, r.file("")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	_, err := l.repoTool(ctx, "init", "--repo", r.Dir, "--keys", r.Keys, "--unsafe-plaintext-keys")
	return r, err
}

// Publish publishes a release and points the channel stable to it.
func (r *Repo) Publish(ctx context.Context, rel Release) error {
	_, err := r.lab.repoTool(ctx, "publish", "--repo", r.Dir, "--keys", r.Keys, "--version", rel.Version,
		"--kernel", rel.Kernel, "--initramfs", rel.Initramfs, "--cmdline", rel.Cmdline)
	return err
}

// Refresh signs timestamp and snapshot again, as if it were the time now, even
// if that is long ago. As on a server, only the keys for these two are at hand.
func (r *Repo) Refresh(ctx context.Context, now time.Time) error {
	online := r.Keys + "-online"
	if err := os.MkdirAll(online, 0o700); err != nil {
		return err
	}
	for _, file := range []string{"snapshot.key", "snapshot.pub", "timestamp.key", "timestamp.pub"} {
		key, err := os.ReadFile(filepath.Join(r.Keys, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(online, file), key, 0o600); err != nil {
			return err
		}
	}
	_, err := r.lab.repoTool(ctx, "--unsafe-no-rehearsal", "--unsafe-now", now.UTC().Format(time.RFC3339),
		"refresh", "--all", "--repo", r.Dir, "--keys", online)
	return err
}

// Copy makes a copy of the repository, with the same keys, at its own address.
func (r *Repo) Copy(name string) (*Repo, error) {
	c := *r
	c.Name, c.Dir, c.Server = name, filepath.Join(r.lab.Repos, name), r.lab.Server.URL(name)
	if out, err := exec.Command("cp", "-a", r.Dir, c.Dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copying %s: %w: %s", r.Dir, err, out)
	}
	return &c, nil
}

// Disk builds a disk with rel in both slots. The trusted root and the agent's
// configuration are in the release itself.
func (r *Repo) Disk(ctx context.Context, rel Release, path string) (machine.Image, error) {
	_, err := r.lab.repoTool(ctx, "image", "--root", filepath.Join(r.Dir, "metadata", "1.root.json"),
		"--version", rel.Version, "--kernel", rel.Kernel, "--initramfs", rel.Initramfs, "--cmdline", rel.Cmdline,
		"--output", path)
	return machine.Image{Path: path}, err
}

// file returns the path for a file of a release.
func (r *Repo) file(name string) string { return filepath.Join(r.lab.Dir, "releases", r.Name, name) }

// agentConfig returns an agent configuration for a guest: the checks of
// Kubernetes are off, as there is none, and a gate that cannot pass gives up
// soon.
func agentConfig(server string) []byte {
	return []byte(`server: ` + server + `
channel: stable
root: /etc/tufboot/root.json
state_dir: /data/tufboot
health:
  deadline: 3s
  interval: 1s
  timeout: 5s
  containerd: {enabled: false}
  api_server: {enabled: false}
  node_ready: {enabled: false}
  drop_in: {enabled: true, dir: /etc/tufboot/health}
`)
}
