package lab

import (
	"context"
	"os"
	"path/filepath"

	"tufboot/e2e/machine"
)

// Repo is a TUF repository, its keys and the first release that its disks hold.
type Repo struct {
	Name string // of its folder below Lab.Repos, and in its address
	Dir  string
	Keys string

	lab *Lab
}

// NewRepo makes keys without passwords and an empty repository.
func (l *Lab) NewRepo(ctx context.Context, name string) (*Repo, error) {
	r := &Repo{Name: name, Dir: filepath.Join(l.Repos, name), Keys: filepath.Join(l.Dir, "keys", name), lab: l}
	if err := os.MkdirAll(filepath.Dir(r.Keys), 0o700); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.Repos, 0o755); err != nil {
		return nil, err
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

// Disk builds a disk with rel in both slots, whose nodes follow the repository
// at the address server.
func (r *Repo) Disk(ctx context.Context, rel Release, server, path string) (machine.Image, error) {
	config := filepath.Join(r.lab.Dir, r.Name+".agent.yaml")
	if err := os.WriteFile(config, agentConfig(server), 0o644); err != nil {
		return machine.Image{}, err
	}
	_, err := r.lab.repoTool(ctx, "image", "--root", filepath.Join(r.Dir, "metadata", "1.root.json"),
		"--kernel", rel.Kernel, "--initramfs", rel.Initramfs, "--cmdline", rel.Cmdline,
		"--version", rel.Version, "--config", config, "-o", path)
	return machine.Image{Path: path}, err
}

// agentConfig returns an agent configuration for a guest: the checks of
// Kubernetes are off, as there is none, and a gate that cannot pass gives up
// soon.
func agentConfig(server string) []byte {
	return []byte(`server: ` + server + `
channel: stable
root: /data/tufboot/root.json
state_dir: /data/tufboot/state
health:
  deadline: 5s
  interval: 1s
  timeout: 5s
  containerd: {enabled: false}
  api_server: {enabled: false}
  node_ready: {enabled: false}
  drop_in: {enabled: true, dir: /etc/tufboot/health}
`)
}
