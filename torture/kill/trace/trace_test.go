//go:build linux && amd64

package trace_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tufboot/torture/kill/trace"
)

// childDoes makes the test program one that changes something.
const childDoes = "TUFBOOT_TEST_CHILD_DOES"

func TestMain(m *testing.M) {
	dir, what, _ := strings.Cut(os.Getenv(childDoes), ":")
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := change(dir, what); err != nil {
		println(err.Error())
		os.Exit(1)
	}
	os.Exit(7)
}

// change makes a folder, a file and another name, or calls what nobody knows.
func change(dir, what string) error {
	switch what {
	case "unknown":
		_, _, errno := unix.Syscall(unix.SYS_QUOTACTL, 0, 0, 0)
		return errno
	case "io_uring":
		_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 0, 0, 0)
		return errno
	case "reboot": // refused by the filter; the command would do nothing but switch off Ctrl-Alt-Del
		if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); !errors.Is(err, unix.EPERM) {
			return errors.New("reboot was not refused")
		}
		return nil
	case "child":
		return exec.Command("/bin/sh", "-c", "echo here >"+filepath.Join(dir, "of-child")).Run()
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("all"), 0o600); err != nil {
		return err
	}
	// Another thread's calls are seen as well.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- os.Rename(filepath.Join(dir, "file"), filepath.Join(dir, "renamed"))
	}()
	return <-done
}

// launcher builds the program that has the filter.
func launcher(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "launch")
	out, err := exec.Command("go", "build", "-o", path, "tufboot/torture/kill/launch").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func runChild(t *testing.T, launch, dir, what string, at trace.Point) (trace.Result, error) {
	t.Helper()
	t.Setenv(childDoes, dir+":"+what)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return trace.Run([]string{launch, "-trace", os.Args[0]}, at)
}

func TestRun(t *testing.T) {
	launch := launcher(t)
	r, err := runChild(t, launch, t.TempDir(), "", trace.Point{})
	if err != nil {
		t.Fatalf("%v: %s", err, r.Stderr)
	}
	var names []string
	for _, c := range r.Calls {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "mkdirat openat write renameat" || r.Killed || r.Code != 7 {
		t.Fatalf("calls %v, killed %v, exit code %d: %s", r.Calls, r.Killed, r.Code, r.Stderr)
	}
	// What is there when it is killed before and after each of them.
	left := []string{"", "folder", "file folder", "file=all folder", "folder renamed=all"}
	for n := 1; n <= 4; n++ {
		for _, after := range []bool{false, true} {
			at, dir := trace.Point{N: n, After: after}, t.TempDir()
			r, err := runChild(t, launch, dir, "", at)
			if err != nil || !r.Killed || len(r.Calls) != n {
				t.Fatalf("%s: %+v, %v", at, r, err)
			}
			if want := left[len(r.Done)]; there(t, dir) != want || len(r.Done) == n != after {
				t.Errorf("%s, at %s: %q is there, want %q", at, r.Calls[n-1], there(t, dir), want)
			}
		}
	}
	if r, err := runChild(t, launch, t.TempDir(), "", trace.Point{N: 5}); err != nil || r.Killed || r.Code != 7 {
		t.Errorf("behind the end: %+v, %v", r, err)
	}
}

// there lists what is in a folder.
func there(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		if !d.IsDir() {
			if data, err := os.ReadFile(filepath.Join(dir, path)); err != nil {
				return err
			} else if len(data) > 0 {
				path += "=" + string(data)
			}
		}
		all = append(all, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// TestWhatIsNotKnown ends a run that does something of which nobody knows what it is.
func TestWhatIsNotKnown(t *testing.T) {
	launch := launcher(t)
	for what, want := range map[string]string{"unknown": "neither known", "io_uring": "cannot be seen"} {
		if r, err := runChild(t, launch, t.TempDir(), what, trace.Point{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	if r, err := runChild(t, launch, t.TempDir(), "reboot", trace.Point{}); err != nil || r.Code != 7 {
		t.Errorf("reboot: %+v, %v: %s", r, err, r.Stderr)
	}
	// What a child changes is its own business.
	dir := t.TempDir()
	r, err := runChild(t, launch, dir, "child", trace.Point{})
	if err != nil || len(r.Calls) != 0 || there(t, dir) != "of-child=here\n" {
		t.Errorf("child: %+v, %v, %q: %s", r, err, there(t, dir), r.Stderr)
	}
}
