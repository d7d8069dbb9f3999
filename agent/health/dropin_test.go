package health_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tufboot/agent/health"
)

// script writes a drop-in check with a shell script as its content.
func script(t *testing.T, path, body string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// oneDropIn returns the check of a folder with one script.
func oneDropIn(t *testing.T, body string) health.Check {
	t.Helper()
	dir := t.TempDir()
	script(t, filepath.Join(dir, "required.d", "check"), body, 0o755)
	required, wanted, err := health.DropIns(dir)
	if err != nil || len(required) != 1 || len(wanted) != 0 {
		t.Fatalf("%v, %v, %v", required, wanted, err)
	}
	return required[0]
}

func TestDropIns(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"20-b", "10-a", "9-c"} {
		script(t, filepath.Join(dir, "required.d", name), "exit 0", 0o755)
	}
	script(t, filepath.Join(dir, "required.d", ".hidden"), "exit 1", 0o755)
	script(t, filepath.Join(dir, "wanted.d", "w"), "exit 3", 0o755)
	script(t, filepath.Join(dir, "other"), "exit 1", 0o755)
	if err := os.Mkdir(filepath.Join(dir, "wanted.d", "..data"), 0o755); err != nil {
		t.Fatal(err)
	}
	required, wanted, err := health.DropIns(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := health.Run(t.Context(), health.Options{Required: required, Wanted: wanted})
	var names []string
	for _, res := range r.Results {
		names = append(names, res.Name)
	}
	if got := strings.Join(names, " "); got != "required.d/10-a required.d/20-b required.d/9-c wanted.d/w" {
		t.Errorf("got %s", got)
	}
	if !r.Healthy || r.Results[3].Passed {
		t.Errorf("got %+v", r)
	}
}

func TestDropInsOfARelativeFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	script(t, filepath.Join("health", "required.d", "a"), "exit 0", 0o755)
	required, _, err := health.DropIns("health")
	if err != nil || len(required) != 1 {
		t.Fatalf("%v, %v", required, err)
	}
	if r := runOnce(t, required[0], time.Minute); !r.Passed {
		t.Error(r.Error)
	}
}

func TestNoDropIns(t *testing.T) {
	empty := t.TempDir()
	if err := os.Mkdir(filepath.Join(empty, "required.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"empty": empty, "missing": filepath.Join(empty, "none")} {
		if required, wanted, err := health.DropIns(dir); len(required)+len(wanted) != 0 || err != nil {
			t.Errorf("%s: %v, %v, %v", name, required, wanted, err)
		}
	}
}

func TestDropInFolderUnreadable(t *testing.T) {
	for _, sub := range []string{"required.d", "wanted.d"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, sub), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if sub == "wanted.d" {
			script(t, filepath.Join(dir, "required.d", "a"), "exit 0", 0o755)
		}
		required, wanted, err := health.DropIns(dir)
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, sub)) || required != nil || wanted != nil {
			t.Errorf("%s: %v, %v, %v", sub, required, wanted, err)
		}
	}
}

func TestDropInOutcomes(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"pass", "echo fine", ""},
		{"pass with noise on stderr", "echo careful >&2", ""},
		{"fail", "echo out; echo err >&2; exit 7", "exit status 7: out\nerr"},
		{"fail silently", "exit 1", "exit status 1"},
		{"killed", "kill -9 $$", "signal: killed"},
		{"noise is bounded and its end is kept", "i=0; while [ $i -lt 3000 ]; do echo noise-noise-noise-noise; i=$((i+1)); done; echo the reason; exit 1", "the reason"},
		{"control characters", `printf '\033[2J\377\000x'; exit 1`, "?[2J??x"},
		{"reads its input", "read line && exit 1; exit 0", ""},
		{"works in /", `[ "$(pwd)" = / ]`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := runOnce(t, oneDropIn(t, tt.body), time.Minute)
			if r.Passed != (tt.want == "") || !strings.Contains(r.Error, tt.want) {
				t.Errorf("passed %v, error %q, want %q", r.Passed, r.Error, tt.want)
			}
			if len(r.Error) > 2500 {
				t.Errorf("the error has %d bytes", len(r.Error))
			}
		})
	}
}

func TestWhatCannotBeRunFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"not executable", func(t *testing.T, p string) { script(t, p, "exit 0", 0o644) }, "is not executable: run chmod +x"},
		{"a folder", func(t *testing.T, p string) {
			if err := os.MkdirAll(p, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "is not a regular file"},
		{"a named pipe", func(t *testing.T, p string) {
			if err := syscall.Mkfifo(p, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "is not a regular file"},
		{"a link to nothing", func(t *testing.T, p string) {
			if err := os.Symlink("/none", p); err != nil {
				t.Fatal(err)
			}
		}, "no such file"},
		{"no first line", func(t *testing.T, p string) {
			if err := os.WriteFile(p, []byte("exit 0\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "#!/bin/sh?"},
		{"interpreter missing", func(t *testing.T, p string) {
			if err := os.WriteFile(p, []byte("#!/none\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "required.d"), 0o755); err != nil {
				t.Fatal(err)
			}
			tt.make(t, filepath.Join(dir, "required.d", "x"))
			required, _, err := health.DropIns(dir)
			if err != nil || len(required) != 1 {
				t.Fatalf("%v, %v", required, err)
			}
			if r := runOnce(t, required[0], time.Minute); r.Passed || !strings.Contains(r.Error, tt.want) {
				t.Errorf("got %+v, want %q", r, tt.want)
			}
		})
	}
}

func TestLinkToAProgramIsRun(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "required.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/bin/true", filepath.Join(dir, "required.d", "x")); err != nil {
		t.Fatal(err)
	}
	required, _, err := health.DropIns(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r := runOnce(t, required[0], time.Minute); !r.Passed {
		t.Error(r.Error)
	}
}

// heartbeat is shell code for a background process that writes its number to
// the file and then lives on until it is killed.
const heartbeat = `(sleep 100 & echo $! >>"$PIDS"; wait) &`

// many starts 20 such processes.
var many = strings.Repeat(heartbeat+"\n", 20) + `while [ "$(wc -l <"$PIDS")" -lt 20 ]; do sleep 0.01; done` + "\n"

// awaitDead returns when none of the processes whose numbers stand in the file
// is alive, and fails when there are not as many numbers as expected.
func awaitDead(t *testing.T, pids string, want int) {
	t.Helper()
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(data))
	if len(fields) != want {
		t.Fatalf("%d children, want %d", len(fields), want)
	}
	for _, f := range fields {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		gone := health.Wait(t.Context(), health.Options{
			Required: []health.Check{processGone(pid)}, Interval: 5 * time.Millisecond, Deadline: 20 * time.Second,
		})
		if !gone.Healthy {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Errorf("child %d survived", pid)
		}
	}
}

func TestDropInLeavesNothingBehind(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		children   int
		timeout    time.Duration
		passed     bool
		want       string
	}{
		{"hangs", "echo before; sleep 100", 0, limit, false, "no answer within the check's timeout: before"},
		{"hangs and does not heed TERM", "trap '' TERM INT HUP; while :; do sleep 100; done", 0, limit, false, "no answer within"},
		{"passes and leaves children", many + "exit 0", 20, time.Minute, true, ""},
		{"fails and leaves children", many + "exit 9", 20, time.Minute, false, "exit status 9"},
		{"passes and leaves silent children", strings.ReplaceAll(many, "wait)", "wait) >/dev/null 2>&1") + "exit 0", 20, time.Minute, true, ""},
		{"prints without end", "while :; do echo noise; done", 0, limit, false, "noise"},
		// Bounded, in case that the kill is what is broken.
		{"forks while it is killed", "i=0; while [ $i -lt 2000 ]; do sleep 100 & i=$((i+1)); done; wait", 0, limit, false, "no answer within"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			if err := os.WriteFile(pids, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			r := runOnce(t, oneDropIn(t, "PIDS="+pids+"\n"+tt.body), tt.timeout)
			if r.Passed != tt.passed || !strings.Contains(r.Error, tt.want) {
				t.Errorf("got %+v, want %q", r, tt.want)
			}
			awaitDead(t, pids, tt.children)
		})
	}
}

// The timeout comes when all children are there, however slow the machine is.
func TestHangingDropInLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	pids, all := filepath.Join(dir, "pids"), filepath.Join(dir, "all")
	if err := os.WriteFile(pids, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(all, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = os.ReadFile(all) // returns when the script has written to it
		cancel()
	}()
	err := oneDropIn(t, "PIDS="+pids+"\n"+many+"echo >"+all+"\nsleep 100").Run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	awaitDead(t, pids, 20)
}

// A process that left the group cannot be killed, but it cannot hold up the
// check by keeping its output open either.
func TestEscapedProcessDoesNotHoldUpTheCheck(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	body := "setsid sh -c 'echo $$ >" + pids + "; exec sleep 100' &\nwhile [ ! -s " + pids + " ]; do :; done\nexit 0"
	r := runOnce(t, oneDropIn(t, body), time.Minute)
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !r.Passed || r.Duration > 30*time.Second {
		t.Errorf("got %+v", r)
	}
}

// processGone passes when no process has the number, zombies not counting.
type processGone int

func (p processGone) Name() string { return "gone" }

func (p processGone) Run(context.Context) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", int(p)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || bytes.Contains(stat, []byte(") Z ")) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("process %d is alive", int(p))
}
