package deploy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// lab is a machine's disk on a loop device, a repository with a release for it,
// and a containerd to run the agent in a container.
type lab struct {
	t                 *testing.T
	dir, disk, socket string
}

// newLab makes the lab. Its folder is under /tmp, since the path of a unix
// socket has to be short.
func newLab(t *testing.T) *lab {
	t.Helper()
	for tool, pkg := range map[string]string{"containerd": "containerd", "ctr": "containerd", "runc": "runc", "mcopy": "mtools", "partx": "util-linux", "losetup": "util-linux"} {
		needTool(t, tool, pkg)
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test runs containers and a loop device, which needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "tb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{t: t, dir: dir, socket: filepath.Join(dir, "c.sock")}
	l.publish()
	l.attach()
	l.startContainerd()
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// publish makes a repository of two releases and the disk of a node that has the
// first.
func (l *lab) publish() {
	l.t.Helper()
	tool := l.path("repo-tool")
	for name, pkg := range map[string]string{"rootfs/usr/sbin/agent": "./agent", "repo-tool": "./repo-tool"} {
		cmd := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", l.path(name), pkg)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if b, err := cmd.CombinedOutput(); err != nil {
			l.t.Fatalf("%v\n%s", err, b)
		}
	}
	repo := []string{"--repo", l.path("repo"), "--keys", l.path("keys")}
	output(l.t, tool, append([]string{"init", "--unsafe-plaintext-keys"}, repo...)...)
	root := read(l.t, l.path("repo/metadata/1.root.json"))
	write(l.t, l.path("etc/root.json"), root, 0o644)
	for _, version := range []string{"1.0.0", "2.0.0"} {
		initramfs := l.path(version)
		write(l.t, initramfs, "070701"+strings.Repeat(version, 1000), 0o644) // begins as an archive does
		files := []string{"--kernel", kernel(l.t), "--initramfs", initramfs, "--version", version}
		output(l.t, tool, append(append([]string{"publish", "--channel", "stable"}, repo...), files...)...)
		if version == "1.0.0" {
			output(l.t, tool, append([]string{"image", "--root", l.path("etc/root.json"), "-o", l.path("disk.img")}, files...)...)
		}
	}
}

// attach makes the disk a block device with partitions, and takes the
// environment block out of it: this machine's kernel may have no vfat.
func (l *lab) attach() {
	l.t.Helper()
	l.disk = strings.TrimSpace(output(l.t, "losetup", "--find", "--show", l.path("disk.img")))
	l.t.Cleanup(func() {
		_ = exec.Command("partx", "-d", l.disk).Run()
		if b, err := exec.Command("losetup", "-d", l.disk).CombinedOutput(); err != nil {
			l.t.Errorf("%v\n%s", err, b)
		}
	})
	output(l.t, "partx", "-a", l.disk)
	if err := os.Mkdir(l.path("esp"), 0o755); err != nil {
		l.t.Fatal(err)
	}
	output(l.t, "mcopy", "-n", "-i", l.path("disk.img")+"@@1M", "::/grub/grubenv", "::/grub/last-good", l.path("esp"))
	write(l.t, l.path("etc/agent.yaml"), "server: file:///repo\ngrubenv: /esp/grubenv\n", 0o644)
	for _, dir := range []string{"state", "run", "rootfs/tmp"} {
		if err := os.MkdirAll(l.path(dir), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *lab) startContainerd() {
	l.t.Helper()
	write(l.t, l.path("c.toml"), fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		l.path("croot"), l.path("cstate"), l.socket), 0o644)
	cmd := exec.Command("containerd", "--config", l.path("c.toml"))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if l.t.Failed() {
			l.t.Log(log.String())
		}
	})
	for end := time.Now().Add(time.Minute); exec.Command("ctr", "-a", l.socket, "version").Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("containerd does not answer:\n%s", log.String())
		}
	}
}

// grant is what a container of the lab may do, besides using the memory that the
// CronJob allows.
type grant struct {
	privileged bool
	caps       []corev1.Capability
	without    string // the host path that is not mounted
	dev        bool   // /dev is mounted too
}

// update runs `agent update` in a container with just these rights and the
// volumes of the CronJob, and returns its exit code and what it printed.
func (l *lab) update(name string, pod corev1.PodSpec, g grant) (int, string) {
	l.t.Helper()
	here := map[string]string{"/etc/tufboot": l.path("etc"), "/var/lib/tufboot": l.path("state"), "/run/tufboot": l.path("run")}
	memory := strconv.FormatInt(pod.Containers[0].Resources.Limits.Memory().Value(), 10)
	args := []string{"-a", l.socket, "run", "--rm", "--rootfs", "--read-only", "--memory-limit", memory, "--env", "TUFBOOT_BOOTED_SLOT=A", "--env", "TUFBOOT_DISK=" + l.disk}
	mount := func(from, to, how string) {
		args = append(args, "--mount", "type=bind,src="+from+",dst="+to+",options=rbind:"+how)
	}
	mount(l.path("esp"), "/esp", "rw")
	mount(l.path("repo"), "/repo", "ro")
	for _, v := range pod.Volumes {
		if v.HostPath == nil || v.HostPath.Path == g.without {
			continue
		}
		i := slices.IndexFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
		m := pod.Containers[0].VolumeMounts[i]
		mount(here[v.HostPath.Path], m.MountPath, map[bool]string{true: "ro", false: "rw"}[m.ReadOnly])
	}
	if g.dev {
		mount("/dev", "/dev", "rw")
	}
	if g.privileged {
		args = append(args, "--privileged")
	}
	for _, c := range allCapabilities {
		switch granted := slices.Contains(g.caps, corev1.Capability(c)); {
		case !granted:
			args = append(args, "--cap-drop", "CAP_"+c)
		case !g.privileged:
			args = append(args, "--cap-add", "CAP_"+c)
		}
	}
	args = append(args, l.path("rootfs"), name, "/usr/sbin/agent", "update", "--json")
	out, err := exec.Command("ctr", args...).CombinedOutput()
	return exitCode(l.t, err), string(out)
}

// allCapabilities are those of capabilities(7).
var allCapabilities = strings.Fields(`AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN
DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD
NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT
SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`)

// TestPermissionsAreNeededAndEnough runs the real agent in a real container: with
// the rights that the CronJob asks for it updates the node, and with any of them
// taken away it does not.
func TestPermissionsAreNeededAndEnough(t *testing.T) {
	l := newLab(t)
	m := build(t)
	pod := m.update.Spec.JobTemplate.Spec.Template.Spec
	s := pod.Containers[0].SecurityContext
	asked := grant{privileged: *s.Privileged, caps: s.Capabilities.Add}

	lacks := map[string]struct {
		grant
		want string
	}{
		// In a container that is not privileged there are no devices; mounting /dev
		// shows them, and the device cgroup forbids them still.
		"privileged":          {grant{privileged: false, caps: asked.caps}, "no such file"},
		"privileged, /dev":    {grant{privileged: false, caps: asked.caps, dev: true}, "operation not permitted"},
		"etc":                 {grant{privileged: true, caps: asked.caps, without: "/etc/tufboot"}, "no server"},
		"state, on read-only": {grant{privileged: true, caps: asked.caps, without: "/var/lib/tufboot"}, "read-only file system"},
	}
	for i, c := range asked.caps {
		lacks["cap "+string(c)] = struct {
			grant
			want string
		}{grant{privileged: true, caps: slices.Delete(slices.Clone(asked.caps), i, i+1)}, "permission denied"}
	}
	n := 0
	for name, tt := range lacks {
		n++
		code, out := l.update(fmt.Sprintf("without%d", n), pod, tt.grant)
		if code == 0 || !strings.Contains(out, tt.want) {
			t.Errorf("without %s: exit code %d, want %q\n%s", name, code, tt.want, out)
		}
	}
	// Without /run/tufboot the update works and nobody learns of the reboot.
	code, out := l.update("all", pod, asked)
	if code != 0 || !strings.Contains(out, `"install": true`) || !strings.Contains(out, `"version": "2.0.0"`) {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	if why := read(t, l.path("run/reboot-required")); !strings.Contains(why, "2.0.0") {
		t.Errorf("the sentinel says %q", why)
	}
	if env := read(t, l.path("esp/grubenv")); !strings.Contains(env, "active_slot=B") || !strings.Contains(env, "boot_counter=3") {
		t.Errorf("the environment block: %s", env)
	}
	// A second run waits for the reboot.
	if code, out := l.update("again", pod, asked); code != 3 || !strings.Contains(out, `"reboot-pending"`) {
		t.Errorf("again: exit code %d\n%s", code, out)
	}
}
