package lab

import (
	"context"
	"os"
	"path/filepath"

	"tufboot/e2e/machine"
	"tufboot/image/build"
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

// Disk builds a disk with rel in both slots. rel is published.
func (r *Repo) Disk(ctx context.Context, rel Release, path string) (machine.Image, error) {
	files, _ := filepath.Glob(filepath.Join(r.Dir, "targets/releases", rel.Version, "amd64/*.release.json"))
	manifest, err := os.ReadFile(files[0])
	if err != nil {
		return machine.Image{}, err
	}
	_, err = build.Build(ctx, build.Options{Output: path, Kernel: rel.Kernel, Initramfs: rel.Initramfs, Cmdline: rel.Cmdline, Manifest: manifest})
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
