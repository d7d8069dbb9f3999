//go:build amd64 || arm64

package confine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// probeVariable has the test program be a process that is confined (or not) and
// tells what it can do.
const probeVariable = "TUFBOOT_CONFINE_PROBE"

func TestMain(m *testing.M) {
	if how := os.Getenv(probeVariable); how != "" {
		probe(how)
		return
	}
	os.Exit(m.Run())
}

// found is what a probe could do: for each thing the error, "" for none.
type found struct {
	Refused map[uint32]string            // calls of refusedCalls, with arguments that are wrong
	Real    map[string]string            // real work
	Threads map[string]map[string]string // fields of each thread's status
	Error   string                       // of Process
}

// probe tries everything on a thread that was there before the process was confined.
func probe(how string) {
	out := found{Refused: map[uint32]string{}, Real: map[string]string{}, Threads: map[string]map[string]string{}}
	start, done := make(chan bool), make(chan bool)
	go func() {
		runtime.LockOSThread()
		start <- true
		<-start
		for _, call := range append(refusedCalls(), archCalls()...) {
			if call == unix.SYS_VHANGUP && how == "free" {
				continue // it takes no argument that could be wrong
			}
			_, _, errno := unix.Syscall6(uintptr(call), ^uintptr(0), ^uintptr(0), ^uintptr(0), ^uintptr(0), ^uintptr(0), ^uintptr(0))
			out.Refused[call] = say(errno)
		}
		for name, work := range realWork() {
			out.Real[name] = say(work())
		}
		done <- true
	}()
	<-start
	if needs, confined := map[string]Needs{
		"confined": {Capabilities: []int{unix.CAP_SYS_ADMIN}},
		"reboot":   {Capabilities: []int{unix.CAP_SYS_ADMIN, unix.CAP_SYS_BOOT}, Reboot: true},
	}[how]; confined {
		out.Error = say(Process(needs))
	}
	start <- true
	<-done
	tasks, _ := filepath.Glob("/proc/self/task/*/status")
	for _, task := range tasks {
		out.Threads[task] = status(task)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		panic(err)
	}
}

func say(err error) string {
	if err == nil || errors.Is(err, unix.Errno(0)) {
		return ""
	}
	return err.Error()
}

// status are the fields of a thread's status(5).
func status(path string) map[string]string {
	f, err := os.Open(path)
	if err != nil {
		return nil // it has ended
	}
	defer f.Close()
	fields := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

// realWork are things that somebody who has taken over the agent would do, and some
// that it does itself. None leaves anything behind.
func realWork() map[string]func() error {
	return map[string]func() error{
		"start a program": func() error { return exec.Command("/bin/true").Run() },
		"executable memory": func() error {
			b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
			return errors.Join(err, unmap(b))
		},
		"memory made executable": func() error {
			b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err != nil {
				return err
			}
			return errors.Join(unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC), unmap(b))
		},
		"a namespace by clone": func() error {
			_, _, errno := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_NEWNET|unix.CLONE_NEWNS|unix.CLONE_FS, 0, 0, 0, 0, 0)
			if errno == 0 || errno == unix.EINVAL { // NEWNS and FS together are wrong
				return nil
			}
			return errno
		},
		"raw packets":       func() error { return closed(unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)) },
		"raw IP":            func() error { return closed(unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)) },
		"a device node":     func() error { return unix.Mknod("/none/x", unix.S_IFBLK, 0) },
		"reboot":            func() error { return unix.Reboot(0x7fffffff) },
		"a host name":       sameHostName,
		"a detached mount":  detachedMount,
		"another thread":    func() error { return <-inNewThread(func() error { return nil }) },
		"TCP to the server": dial,
	}
}

// sameHostName gives the machine the name that it has.
func sameHostName() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	return unix.Sethostname([]byte(name))
}

func unmap(b []byte) error {
	if b == nil {
		return nil
	}
	return unix.Munmap(b)
}

func closed(fd int, err error) error {
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func inNewThread(work func() error) <-chan error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		result <- work()
	}()
	return result
}

// detachedMount mounts a tmpfs, in no place, and writes into it.
func detachedMount() error {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(m)
	return closed(unix.Openat(m, "x", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600))
}

// dial finds nobody, which is no refusal of the system call.
func dial() error {
	c, err := net.Dial("tcp", "127.0.0.1:9")
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.Close()
}

// run builds this test program as the agent is built, without cgo, and has it probe.
func run(t *testing.T, program, how string) found {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), probeVariable+"="+how)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", how, err, out)
	}
	var f found
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return f
}

func buildProbe(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestProcess: a process that is confined cannot do what the same process can do that
// is not, on none of its threads, and can do what the agent does.
func TestProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("a process without rights has none to lose: this test needs root")
	}
	program := buildProbe(t)
	free := run(t, program, "free")
	confined := run(t, program, "confined")
	if confined.Error != "" {
		t.Fatal(confined.Error)
	}
	eperm := unix.EPERM.Error()
	for call, err := range free.Refused {
		if err == eperm {
			t.Errorf("call %d is refused in any case, so this test shows nothing of it", call)
		}
	}
	for call, err := range confined.Refused {
		if err != eperm {
			t.Errorf("call %d: %q", call, err)
		}
	}
	allowed := map[string]bool{"a detached mount": true, "another thread": true, "TCP to the server": true}
	for name, before := range free.Real {
		after := confined.Real[name]
		switch {
		case allowed[name] && (before != "" || after != ""):
			t.Errorf("%s: free %q, confined %q", name, before, after)
		case !allowed[name] && strings.Contains(before, eperm):
			t.Errorf("%s is refused in any case: %q", name, before)
		case !allowed[name] && !strings.Contains(after, eperm) && after != unix.EAFNOSUPPORT.Error():
			t.Errorf("%s: free %q, confined %q", name, before, after)
		}
	}
	checkThreads(t, confined, 1<<unix.CAP_SYS_ADMIN)
}

// TestReboot: who may reboot may call it, with arguments that mean nothing here.
func TestReboot(t *testing.T) {
	f := run(t, buildProbe(t), "reboot")
	if got := f.Real["reboot"]; got != unix.EINVAL.Error() {
		t.Errorf("reboot: %q", got)
	}
	checkThreads(t, f, 1<<unix.CAP_SYS_ADMIN|1<<unix.CAP_SYS_BOOT)
}

// checkThreads wants these capabilities and no other on every thread, the filter and
// no_new_privs.
func checkThreads(t *testing.T, f found, caps uint64) {
	t.Helper()
	want := map[string]string{"NoNewPrivs": "1", "Seccomp": "2"}
	for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
		want[set] = fmt.Sprintf("%016x", caps)
	}
	for _, set := range []string{"CapInh", "CapAmb"} {
		want[set] = fmt.Sprintf("%016x", 0)
	}
	if len(f.Threads) < 2 {
		t.Errorf("%d threads show nothing", len(f.Threads))
	}
	for task, fields := range f.Threads {
		for name, value := range want {
			if fields != nil && fields[name] != value {
				t.Errorf("%s: %s is %s, want %s", task, name, fields[name], value)
			}
		}
	}
}

// TestProgram: the filter is as long as the kernel takes, and what it refuses on
// either architecture is no call of another name twice.
func TestProgram(t *testing.T) {
	f := program(false)
	if len(f) > 4096 {
		t.Errorf("%d instructions", len(f))
	}
	seen := map[uint32]bool{}
	for _, call := range append(refusedCalls(), archCalls()...) {
		if seen[call] {
			t.Error("twice: " + strconv.Itoa(int(call)))
		}
		seen[call] = true
	}
}
