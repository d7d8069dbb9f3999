package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The workload is the system of a small Kubernetes node, three releases of it,
// made of Debian packages as apt gives them.
//
//	1  everything from the stable release
//	2  security fixes, and a program exchanged: about 5 % of the bytes
//	3  the next kernel, all newest versions, and another program exchanged
const kernelPackage = "linux-image-cloud-amd64"

// packages returns what each release is made of, as apt-get download wants it.
func packages(suite string) [3][]string {
	stable := func(names ...string) []string {
		for i := range names {
			names[i] += "/" + suite
		}
		return names
	}
	kept := stable("base-files", "bash", "coreutils", "util-linux", "mount", "kmod", "dash", "grep", "sed", "gzip", "tar",
		"findutils", "procps", "iproute2", "iptables", "nftables", "ethtool", "conntrack", "e2fsprogs", "openssh-server",
		"ca-certificates", "libstdc++6", "runc", "perl-base")
	fixed := []string{"libc6", "openssl", "libssl3"}
	moved := []string{"containerd", "systemd", "libsystemd0", "libsystemd-shared", "udev", "curl", "libcurl4", kernelPackage}
	return [3][]string{
		slices.Concat(kept, stable(slices.Concat(fixed, moved)...), stable("kubernetes-client", "skopeo")),
		slices.Concat(kept, fixed, stable(slices.Clone(moved)...), stable("kubernetes-client", "prometheus-process-exporter")),
		slices.Concat(kept, fixed, moved, stable("podman", "prometheus-process-exporter")),
	}
}

// release is one of the three.
type release struct {
	version         int
	kernel, archive string   // files: the kernel, and the initramfs without compression
	debs            []string // file names, for the report
	changed         float64  // part of the archive's bytes in files that the release before did not have
}

// workload makes the three releases in dir, or finds them there.
func workload(ctx context.Context, dir string) ([]release, error) {
	suite, err := codename()
	if err != nil {
		return nil, err
	}
	releases := make([]release, 3)
	var before map[string]bool
	for i, specs := range packages(suite) {
		r := &releases[i]
		at := filepath.Join(dir, fmt.Sprint("release-", i+1))
		*r = release{version: i + 1, kernel: filepath.Join(at, "vmlinuz"), archive: filepath.Join(at, "initramfs.cpio")}
		if err := r.make(ctx, at, filepath.Join(dir, "debs"), specs); err != nil {
			return nil, fmt.Errorf("release %d: %w", i+1, err)
		}
		if before, err = r.compare(at, before); err != nil {
			return nil, err
		}
	}
	return releases, nil
}

// codename is the name that this system's stable release has in apt's lists.
func codename() (string, error) {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", errors.New("/etc/os-release has no VERSION_CODENAME")
}

// make builds the release, unless it is there. The list of packages is written
// last and says that it is whole.
func (r *release) make(ctx context.Context, at, cache string, specs []string) error {
	list := filepath.Join(at, "packages")
	if data, err := os.ReadFile(list); err == nil {
		r.debs = strings.Fields(string(data))
		return nil
	}
	debs, err := download(ctx, cache, specs)
	if err != nil {
		return err
	}
	tree := filepath.Join(at, "tree")
	if err := errors.Join(os.RemoveAll(at), os.MkdirAll(tree, 0o755)); err != nil {
		return err
	}
	for _, deb := range debs {
		if err := command(ctx, "", "dpkg-deb", "-x", filepath.Join(cache, deb), tree); err != nil {
			return err
		}
	}
	kernels, err := filepath.Glob(filepath.Join(tree, "boot/vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return fmt.Errorf("%d kernels in %v (%w)", len(kernels), debs, err)
	}
	if err := os.Rename(kernels[0], r.kernel); err != nil {
		return err
	}
	for _, ballast := range []string{"boot", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"} {
		if err := os.RemoveAll(filepath.Join(tree, ballast)); err != nil {
			return err
		}
	}
	if err := writeArchive(tree, r.archive, filepath.Join(at, "files")); err != nil {
		return err
	}
	r.debs = debs
	return errors.Join(os.RemoveAll(tree), os.WriteFile(list, []byte(strings.Join(debs, "\n")+"\n"), 0o644))
}

// compare says how much of the release is new to who has the files before. It
// returns the release's own.
func (r *release) compare(at string, before map[string]bool) (map[string]bool, error) {
	data, err := os.ReadFile(filepath.Join(at, "files"))
	if err != nil {
		return nil, err
	}
	own := make(map[string]bool)
	var total, fresh int64
	for line := range strings.Lines(string(data)) {
		var digest string
		var size int64
		if _, err := fmt.Sscan(line, &digest, &size); err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		own[digest] = true
		total += size
		if !before[digest] {
			fresh += size
		}
	}
	r.changed = float64(fresh) / float64(total)
	return own, nil
}

// download fetches packages into the cache, the kernel in place of the package
// that only depends on it. It returns the file names.
func download(ctx context.Context, cache string, specs []string) ([]string, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	debs, err := fetch(ctx, cache, specs...)
	if err != nil {
		return nil, err
	}
	for i, deb := range debs {
		if !strings.HasPrefix(deb, kernelPackage) {
			continue
		}
		out, err := exec.CommandContext(ctx, "dpkg-deb", "-f", filepath.Join(cache, deb), "Depends").Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", deb, err)
		}
		// "linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)"
		spec := strings.NewReplacer(" (= ", "=", ")", "").Replace(strings.TrimSpace(string(out)))
		kernel, err := fetch(ctx, cache, spec)
		if err != nil {
			return nil, err
		}
		debs[i] = kernel[0]
	}
	return debs, nil
}

// fetch downloads packages as apt names them (name, name/suite, name=version)
// and returns their file names.
func fetch(ctx context.Context, cache string, specs ...string) ([]string, error) {
	uris, err := exec.CommandContext(ctx, "apt-get", append([]string{"download", "--print-uris"}, specs...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("apt-get download %s: %w (are apt's lists there? apt-get update)", specs, err)
	}
	named := make(map[string]string)
	for _, spec := range specs {
		name, _, _ := strings.Cut(strings.ReplaceAll(spec, "=", "/"), "/")
		named[name] = spec
	}
	var debs, missing []string
	for line := range strings.Lines(string(uris)) {
		fields := strings.Fields(line) // 'URL' FILE SIZE HASH
		if len(fields) < 2 {
			return nil, fmt.Errorf("apt-get download --print-uris: %q", line)
		}
		debs = append(debs, fields[1])
		if _, err := os.Stat(filepath.Join(cache, fields[1])); err != nil {
			name, _, _ := strings.Cut(fields[1], "_")
			missing = append(missing, named[name])
		}
	}
	if len(missing) > 0 {
		err = command(ctx, cache, "apt-get", append([]string{"download", "-q"}, missing...)...)
	}
	return debs, err
}
