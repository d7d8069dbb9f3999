package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const gateScript = "../init/tufboot-gate"

// shells are those that the script has to work with.
var shells = map[string][]string{
	"dash":    {"dash"},
	"busybox": {"busybox", "sh"},
	"bash":    {"bash", "--posix"},
}

// gateMachine is a folder that stands for a machine: an agent, a reboot command
// and a clock that are scripts, and files for what the kernel offers.
type gateMachine struct {
	t     *testing.T
	dir   string
	shell []string
}

func newGateMachine(t *testing.T, shell []string, cmdline, agent string) *gateMachine {
	t.Helper()
	needTool(t, shell[0], map[string]string{"busybox": "busybox-static"}[shell[0]])
	m := &gateMachine{t: t, dir: t.TempDir(), shell: shell}
	write(t, m.path("agent"), "#!/bin/sh\necho $$ >"+m.path("agent.pid")+"\necho \"$@\" >>"+m.path("agent.log")+"\n"+agent+"\n", 0o755)
	write(t, m.path("reboot"), "#!/bin/sh\necho reboot \"$@\" >>"+m.path("events")+"\n", 0o755)
	write(t, m.path("sleep"), "#!/bin/sh\nexec /bin/sleep 0.02\n", 0o755) // whatever it is asked for
	write(t, m.path("cmdline"), cmdline, 0o644)
	write(t, m.path("events"), "", 0o644)
	write(t, m.path("kmsg"), "", 0o644)
	write(t, m.path("sysrq"), "", 0o644)
	write(t, m.path("defaults"), fmt.Sprintf(`
AGENT=%[1]s/agent REBOOT=%[1]s/reboot CMDLINE=%[1]s/cmdline KMSG=%[1]s/kmsg SYSRQ=%[1]s/sysrq RUN_DIR=%[1]s/run
DEADLINE=20 LOCK_WAIT=10 GRACE=3 REBOOT_GRACE=2 SLEEP=%[1]s/sleep
`, m.dir), 0o644)
	return m
}

func (m *gateMachine) path(name string) string { return filepath.Join(m.dir, name) }

// run runs the gate in the foreground, as `start` does in the background.
func (m *gateMachine) run(verb string) (string, error) {
	m.t.Helper()
	args := append(append([]string{}, m.shell...), abs(m.t, gateScript), verb)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "TUFBOOT_GATE_DEFAULTS="+m.path("defaults"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *gateMachine) events() string { return strings.TrimSpace(read(m.t, m.path("events"))) }

// agentIsGone checks that an agent that was given up cannot commit the trial
// afterwards.
func (m *gateMachine) agentIsGone() {
	m.t.Helper()
	pid, err := os.ReadFile(m.path("agent.pid"))
	if err != nil {
		return // it was never started
	}
	stat := "/proc/" + strings.TrimSpace(string(pid)) + "/stat"
	for range 200 { // a killed process is there for a moment
		b, err := os.ReadFile(stat)
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	m.t.Error("the agent is alive")
}

const (
	trial     = "quiet tufboot.slot=B tufboot.boot_id=0123456789abcdef tufboot.try=2 panic=10\n"
	committed = "quiet tufboot.slot=B tufboot.boot_id=0000000000000000 tufboot.try=0 panic=10\n"
)

func TestGateScript(t *testing.T) {
	const forced = "reboot\nreboot -f"
	for _, tt := range []struct {
		name, cmdline, agent string
		events               string // what was rebooted, and how
		says                 string
	}{
		{"trial, healthy", trial, "exit 0", "", "the trial is committed"},
		{"trial, healthy after a while", trial, "/bin/sleep 0.1; exit 0", "", "the trial is committed"},
		{"trial without a newline", strings.TrimSpace(trial), "exit 0", "", "the trial is committed"},
		{"trial, unhealthy", trial, "exit 5", forced, "the agent ended with status 5"},
		{"trial, refused", trial, "exit 3", forced, "the agent ended with status 3"},
		{"trial, wrong usage", trial, "exit 2", forced, "the agent ended with status 2"},
		{"trial, crash", trial, "kill -SEGV $$", forced, "the agent ended with status 139"},
		{"trial, hang", trial, "exec /bin/sleep 100", forced, "the agent did not end within its time"},
		{"trial, hang, deaf", trial, "trap '' TERM INT HUP; for i in 1 2 3 4 5 6 7 8 9 0; do /bin/sleep 3; done", forced, "the agent did not end within its time"},
		{"trial, agent not executable", trial, "chmod", forced, "the agent ended with status 126"},
		{"trial, agent missing", trial, "rm", forced, "the agent ended with status 127"},
		{"committed, healthy", committed, "exit 0", "", "healthy"},
		{"committed, unhealthy", committed, "exit 5", "", "ended with status 5; nothing is on trial"},
		{"committed, hang", committed, "exec /bin/sleep 100", "", "ended with status 124; nothing is on trial"},
		{"not booted by tufboot", "quiet root=/dev/sda1\n", "exit 1", "", "nothing is on trial"},
		{"a value that only looks like it", "x.tufboot.try=1 tufboot.tryout=1\n", "exit 1", "", "nothing is on trial"},
	} {
		for name, shell := range shells {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				m := newGateMachine(t, shell, tt.cmdline, tt.agent)
				switch tt.agent {
				case "chmod":
					if err := os.Chmod(m.path("agent"), 0o644); err != nil {
						t.Fatal(err)
					}
				case "rm":
					if err := os.Remove(m.path("agent")); err != nil {
						t.Fatal(err)
					}
				}
				out, err := m.run("run")
				if err != nil || !strings.Contains(out, tt.says) || !strings.Contains(read(t, m.path("kmsg")), tt.says) {
					t.Errorf("%v\n%s", err, out)
				}
				if got := m.events(); got != tt.events {
					t.Errorf("events %q, want %q", got, tt.events)
				}
				m.agentIsGone()
				if got := strings.TrimSpace(read(t, m.path("sysrq"))); (got == "b") != (tt.events == forced) {
					t.Errorf("sysrq %q", got)
				}
			})
		}
	}
}

// The agent gets the times, and the right to reboot only on a trial.
func TestGateScriptCallsTheAgent(t *testing.T) {
	for cmdline, want := range map[string]string{
		trial:     "healthcheck --wait 20s --lock-wait 10s --reboot-on-failure\n",
		committed: "healthcheck --wait 20s --lock-wait 10s\n",
	} {
		m := newGateMachine(t, shells["dash"], cmdline, "exit 0")
		if out, err := m.run("run"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got := read(t, m.path("agent.log")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A trial boot that ends in good order is given back, unless it failed.
func TestGateScriptStops(t *testing.T) {
	for _, tt := range []struct{ name, cmdline, agent, before, log, says string }{
		{"trial", trial, "echo 'trial boot 2 of slot B is not counted'", "", "healthcheck --give-back --lock-wait 20s\n", "trial boot 2 of slot B is not counted"},
		{"trial, refused", trial, "exit 3", "", "healthcheck --give-back --lock-wait 20s\n", "stays counted"},
		{"trial that the agent saw fail", trial, "mkdir -p $(dirname $0)/run; >$(dirname $0)/run/trial-failed", "", "healthcheck --give-back --lock-wait 20s\n", ""},
		{"trial that was given up", trial, "exit 5", "run", "healthcheck --wait 20s --lock-wait 10s --reboot-on-failure\n", ""},
		{"committed", committed, "exit 0", "", "", ""},
	} {
		for name, shell := range shells {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				m := newGateMachine(t, shell, tt.cmdline, tt.agent)
				write(t, m.path("agent.log"), "", 0o644)
				if tt.before != "" {
					if out, err := m.run(tt.before); err != nil {
						t.Fatalf("%v\n%s", err, out)
					}
				}
				for range 2 { // the second time, what the first one left is heeded
					out, err := m.run("stop")
					if err != nil || !strings.Contains(out, tt.says) {
						t.Errorf("%v\n%s", err, out)
					}
					if tt.says != "" {
						break
					}
				}
				if got := read(t, m.path("agent.log")); got != tt.log {
					t.Errorf("the agent was called with %q, want %q", got, tt.log)
				}
			})
		}
	}
}

// Without a place for its log the gate does its work all the same.
func TestGateScriptWithoutARunFolder(t *testing.T) {
	for agent, want := range map[string]string{"exit 0": "", "exit 5": "reboot\nreboot -f"} {
		for name, shell := range shells {
			m := newGateMachine(t, shell, trial, agent)
			write(t, m.path("run"), "", 0o644) // a file where the folder should be
			if out, err := m.run("run"); err != nil || m.events() != want {
				t.Errorf("%s: %s: %v, events %q\n%s", agent, name, err, m.events(), out)
			}
		}
	}
}

// start comes back at once; the gate goes on behind it, one at a time.
func TestGateScriptRunsInTheBackground(t *testing.T) {
	for name, shell := range shells {
		t.Run(name, func(t *testing.T) {
			m := newGateMachine(t, shell, trial, "cat "+"$(dirname \"$0\")/fifo >/dev/null; exit 0")
			write(t, m.path("defaults"), read(t, m.path("defaults"))+"DEADLINE=100000\n", 0o644)
			if err := syscall.Mkfifo(m.path("fifo"), 0o600); err != nil {
				t.Fatal(err)
			}
			// The script starts itself, by its first line; here by the shell on trial.
			script := m.path("gate")
			write(t, script, strings.Replace(read(t, gateScript), "#!/bin/sh", "#!"+needTool(t, shell[0], "")+" "+strings.Join(shell[1:], " "), 1), 0o755)
			do := func(verb string) error {
				cmd := exec.Command(script, verb)
				cmd.Env = append(os.Environ(), "TUFBOOT_GATE_DEFAULTS="+m.path("defaults"))
				return cmd.Run()
			}
			if err := do("start"); err != nil {
				t.Fatal(err)
			}
			await(t, func() bool { return do("status") == nil })
			for range 2 { // running already
				if err := do("start"); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(m.path("fifo"), nil, 0o600); err != nil { // lets the agent end
				t.Fatal(err)
			}
			await(t, func() bool { return do("status") != nil })
			if log := read(t, m.path("agent.log")); strings.Count(log, "healthcheck") != 1 {
				t.Errorf("the agent was started more than once: %q", log)
			}
			if got := read(t, m.path("run/gate.log")); !strings.Contains(got, "the trial is committed") || m.events() != "" {
				t.Errorf("log %q, events %q", got, m.events())
			}
		})
	}
}

func TestGateScriptUsage(t *testing.T) {
	m := newGateMachine(t, shells["dash"], trial, "exit 0")
	for verb, code := range map[string]int{"": 2, "restart": 2, "stop": 0, "status": 3} {
		_, err := m.run(verb)
		if got := exitCode(t, err); got != code {
			t.Errorf("%q: exit code %d, want %d", verb, got, code)
		}
	}
}

// await returns when the condition holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came to hold")
		}
	}
}
