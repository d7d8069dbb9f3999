package machine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// guestModules are the kernel modules that the guest needs: its disk, network,
// command channel and random numbers (virtio), and the ESP's file system with
// the character sets that Debian's kernel mounts it with.
var guestModules = []string{
	"virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio-rng",
	"vfat", "nls_cp437", "nls_ascii", "nls_utf8",
}

// Kernel is a kernel of the host that guests boot.
type Kernel struct {
	Release string // such as 6.1.0-18-cloud-amd64
	Image   string // path of its vmlinuz
}

// FindKernel returns the newest of Debian's cloud kernels on this host: it is
// the smallest one that has all the virtio drivers.
func FindKernel() (Kernel, error) {
	images, err := filepath.Glob("/boot/vmlinuz-*-cloud-amd64")
	if err != nil || len(images) == 0 {
		return Kernel{}, fmt.Errorf("no /boot/vmlinuz-*-cloud-amd64: install linux-image-cloud-amd64")
	}
	slices.Sort(images)
	image := images[len(images)-1]
	return Kernel{Release: strings.TrimPrefix(filepath.Base(image), "vmlinuz-"), Image: image}, nil
}

// addModules puts the named modules and all that they need into t, below
// /lib/modules, and the order in which to load them into /etc/modules-order.
func (k Kernel) addModules(t Tree, names []string) error {
	dir := filepath.Join("/lib/modules", k.Release)
	deps, err := readDependencies(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return err
	}
	var order []string
	for _, name := range names {
		chain, ok := deps[moduleName(name)]
		if !ok {
			return fmt.Errorf("kernel %s has no module %s", k.Release, name)
		}
		for _, file := range slices.Backward(chain) {
			if slices.Contains(order, file) {
				continue
			}
			order = append(order, file)
		}
	}
	var list strings.Builder
	for _, file := range order {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		base := filepath.Base(file)
		t.AddFile("lib/modules/"+base, data, 0o644)
		fmt.Fprintln(&list, base)
	}
	t.AddFile("etc/modules-order", []byte(list.String()), 0o644)
	return nil
}

// readDependencies returns, for each module, its file and the files that it
// needs: the last one must be loaded first (modules.dep(5)).
func readDependencies(file string) (map[string][]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	deps := map[string][]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		module, needs, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		deps[moduleName(module)] = append([]string{module}, strings.Fields(needs)...)
	}
	return deps, lines.Err()
}

// moduleName returns the name of a module's file as the kernel spells it.
func moduleName(file string) string {
	base := filepath.Base(file)
	base, _, _ = strings.Cut(base, ".ko")
	return strings.ReplaceAll(base, "-", "_")
}
