package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Addresses of the node. They exist in its network namespace alone.
const (
	NodeName    = "node-1"
	NodeAddress = "192.0.2.10" // the kubelet's and the API server's
	// ServiceAddress is the cluster IP of the service "kubernetes", the first of
	// serviceRange. It is an address of the node itself, and the API server listens
	// on port 443, so pods reach it without a kube-proxy.
	ServiceAddress = "10.96.0.1"
	serviceRange   = "10.96.0.0/16"
	podRange       = "10.88.0.0/24"
)

// layOut makes the namespaces look like a node's machine.
func layOut(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts from the machine: %w", err)
	}
	steps := []func(string) error{ownFolders, ownProc, ownNetwork}
	for _, step := range steps {
		if err := step(dir); err != nil {
			return err
		}
	}
	return syscall.Sethostname([]byte(NodeName))
}

// ownFolders gives the node an /etc that begins as the machine's, an empty
// /var/lib and /var/log in dir, and an empty /run in memory.
func ownFolders(dir string) error {
	etc := filepath.Join(dir, "etc")
	for _, sub := range []string{"etc/changed", "etc/work", "var/lib", "var/log"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	layers := "lowerdir=/etc,upperdir=" + etc + "/changed,workdir=" + etc + "/work"
	if err := mount("overlay", "/etc", "overlay", 0, layers); err != nil {
		return err
	}
	for _, sub := range []string{"var/lib", "var/log"} {
		if err := mount(filepath.Join(dir, sub), "/"+sub, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
	}
	return mount("tmpfs", "/run", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=755")
}

// wantedByKubelet are the kernel settings that a kubelet sets where they differ.
// They are the whole machine's, so it is shown files with what it wants instead.
var wantedByKubelet = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// Files of the kernel that a test may write, to tell the node and its pods what a
// boot was like. At first they say what the machine's own say.
const (
	KernelCmdline = "/proc/cmdline"
	KernelBootID  = "/proc/sys/kernel/random/boot_id"
)

func ownProc(dir string) error {
	if err := mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return err
	}
	files := map[string]string{}
	for name, value := range wantedByKubelet {
		files["/proc/sys/"+name] = value + "\n"
	}
	for _, name := range []string{KernelCmdline, KernelBootID} {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files[name] = string(text)
	}
	for name, text := range files {
		if err := writeFile(filepath.Join(dir, name), text); err != nil {
			return err
		}
		if err := mount(filepath.Join(dir, name), name, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// ownNetwork gives the node its addresses on the loopback device: there is no
// other machine. Pods are joined by a veth pair each.
func ownNetwork(string) error {
	for _, args := range []string{
		"link set lo up", "addr add " + NodeAddress + "/32 dev lo", "addr add " + ServiceAddress + "/32 dev lo",
	} {
		if _, err := (tool{}).run("ip", strings.Fields(args)...); err != nil {
			return err
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

// writeFile writes a file and makes the folders it is in.
func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}
