package storagetest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// buildServer builds a program that the module s3test pins, into the
// repository's build folder: the next test finds it there.
func buildServer(t *testing.T, pkg string) string {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(here) {
		t.Fatal("the tests must be built where they lie, without -trimpath")
	}
	module := filepath.Join(filepath.Dir(here), "../s3test")
	build := filepath.Join(module, "../../../build")
	if err := os.MkdirAll(build, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(build, path.Base(pkg))
	// The tests of two packages may come here at once.
	lock, err := os.OpenFile(program+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return program
}

// startServer runs a program on a free port of this machine until the test ends
// and returns its address when it answers.
func startServer(t *testing.T, command func(address string) []string) string {
	t.Helper()
	const tries = 3
	var err error
	for range tries {
		var address string
		if address, err = tryServer(t, command); err == nil {
			return address
		}
	}
	t.Fatal(err)
	return ""
}

func tryServer(t *testing.T, command func(address string) []string) (string, error) {
	t.Helper()
	// Somebody else may get the port in between; hence the tries.
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := listener.Addr().String()
	listener.Close()

	args := command(address)
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test panics
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); close(ended) }()
	stop := func() {
		_ = cmd.Process.Kill()
		for range ended {
		}
	}
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := waitFor(ctx, "http://"+address, ended); err != nil {
		stop()
		t.Logf("%s: %s", args[0], out.String())
		return "", err
	}
	return "http://" + address, nil
}
