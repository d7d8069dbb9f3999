package machine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
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

	root string   // where its lib/modules is; "": /
	more []string // modules that its guests need besides the others'
}

// kernels are where the kernels lie that have virtio drivers: Debian's package
// linux-image-cloud-amd64 (the smallest), Ubuntu's linux-image-virtual, and
// any other.
var kernels = []string{"/boot/vmlinuz-*-cloud-amd64", "/boot/vmlinuz-*-generic", "/boot/vmlinuz-*"}

// FindKernel returns the newest kernel on this host of the smallest kind that
// is there and that we may read.
func FindKernel() (Kernel, error) {
	for _, pattern := range kernels {
		images, err := filepath.Glob(pattern)
		if err != nil {
			return Kernel{}, err
		}
		slices.Sort(images)
		for _, image := range slices.Backward(images) {
			k := Kernel{Release: strings.TrimPrefix(filepath.Base(image), "vmlinuz-"), Image: image}
			_, missing := os.Stat(k.modules("modules.dep"))
			f, err := os.Open(image)
			if err == nil && missing == nil {
				return k, f.Close()
			}
		}
	}
	return Kernel{}, fmt.Errorf("no readable kernel with modules in /boot: install linux-image-cloud-amd64 (on Ubuntu linux-image-virtual) and make it readable")
}

// watchdogKernels is where scripts/watchdog-kernel puts a kernel.
const watchdogKernels = "/usr/local/lib/tufboot-kernel"

// FindWatchdogKernel returns a kernel with the driver of the watchdog that
// Options.Watchdog puts into a machine.
func FindWatchdogKernel() (Kernel, error) {
	for _, root := range []string{"/", watchdogKernels} {
		drivers, err := filepath.Glob(filepath.Join(root, "lib/modules/*/kernel/drivers/watchdog/i6300esb.ko*"))
		if err != nil {
			return Kernel{}, err
		}
		for _, driver := range drivers {
			release := strings.Split(strings.TrimPrefix(driver, filepath.Join(root, "lib/modules")+"/"), "/")[0]
			k := Kernel{Release: release, Image: filepath.Join(root, "boot/vmlinuz-"+release), root: root, more: []string{"crc32c_generic", "ext4", "i6300esb"}}
			if _, err := os.Stat(k.Image); err == nil {
				return k, nil
			}
		}
	}
	return Kernel{}, fmt.Errorf("no kernel with the driver i6300esb: run scripts/watchdog-kernel (`make deps` does)")
}

func (k Kernel) modules(file string) string {
	return filepath.Join("/", k.root, "lib/modules", k.Release, file)
}

// addModules puts the named modules and all that they need into t, below
// /lib/modules, and the order in which to load them into /etc/modules-order.
// What is built into the kernel needs no loading.
func (k Kernel) addModules(t Tree, names []string) error {
	deps, err := readDependencies(k.modules("modules.dep"))
	if err != nil {
		return err
	}
	builtin, err := readDependencies(k.modules("modules.builtin"))
	if err != nil {
		return err
	}
	var order []string
	for _, name := range slices.Concat(names, k.more) {
		chain, ok := deps[moduleName(name)]
		if _, in := builtin[moduleName(name)]; !ok && !in {
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
		data, err := readModule(k.modules(file))
		if err != nil {
			return err
		}
		name := moduleName(file)
		t.AddFile("lib/modules/"+name, data, 0o644)
		fmt.Fprintln(&list, name)
	}
	t.AddFile("etc/modules-order", []byte(list.String()), 0o644)
	return nil
}

// readModule returns a module, unpacked if the distribution packs it.
func readModule(file string) ([]byte, error) {
	unpack := map[string]string{".zst": "zstd", ".xz": "xz", ".gz": "gzip"}[filepath.Ext(file)]
	if unpack == "" {
		return os.ReadFile(file)
	}
	data, err := exec.Command(unpack, "-dc", file).Output()
	if err != nil {
		return nil, fmt.Errorf("%s -dc %s: %w", unpack, file, err)
	}
	return data, nil
}

// readDependencies returns, for each module, its file and the files that it
// needs: the last one must be loaded first (modules.dep(5)). It reads
// modules.builtin too, which names files alone.
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
		if !ok { // modules.builtin names files only
			module = lines.Text()
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
