package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfined looks at agents at work: what the kernel says of each of their threads.
func TestConfined(t *testing.T) {
	dir := t.TempDir()
	agent := filepath.Join(dir, "agent")
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", agent, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	socket := filepath.Join(dir, "s")
	silent, err := net.Listen("unix", socket) // its health question is never answered
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	health := "health: {api_server: {enabled: false}, node_ready: {enabled: false}, containerd: {socket: " + socket + "}, drop_in: "
	waits := []string{"update", "--splay", "100h"}
	for name, tt := range map[string]struct {
		config, caps string
		args         []string
	}{
		"update":                             {"", "200002", waits},
		"update, and reboot":                 {"", "600002", append(waits, "--reboot")},
		"update, and a command that reboots": {"reboot: {command: [/bin/false]}", "", append(waits, "--reboot")},
		"a command that is not used":         {"reboot: {command: [/bin/false]}", "200002", waits},
		"health, reported":                   {health + "{enabled: false}}", "2", []string{"healthcheck", "--report-only", "--wait", "1h"}},
		"health, with drop-ins":              {health + "{dir: " + dir + "}}", "", []string{"healthcheck", "--report-only", "--wait", "1h"}},
	} {
		config := filepath.Join(dir, "agent.yaml")
		if err := os.WriteFile(config, []byte(tt.config), 0o600); err != nil {
			t.Fatal(err)
		}
		fields := whileItWaits(t, agent, silent, append(tt.args, "--config", config, "--booted-slot", "none", "--log-level", "debug"))
		for _, f := range fields {
			confined := f["Seccomp"] == "2" && f["NoNewPrivs"] == "1"
			if confined != (tt.caps != "") {
				t.Errorf("%s: a thread has %v", name, f)
			}
			for _, set := range []string{"CapEff", "CapPrm", "CapBnd"} {
				if got := strings.TrimLeft(f[set], "0"); confined && got != tt.caps {
					t.Errorf("%s: %s is %s, want %s", name, set, got, tt.caps)
				}
			}
		}
	}
}

// whileItWaits runs the agent until it waits (for its turn, or for the answer of
// silent), reads the status of its threads and ends it.
func whileItWaits(t *testing.T, agent string, silent net.Listener, args []string) []map[string]string {
	t.Helper()
	cmd := exec.Command(agent, args...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if args[0] == "healthcheck" {
		if _, err := silent.Accept(); err != nil {
			t.Fatal(err)
		}
	} else {
		lines := bufio.NewScanner(log)
		for lines.Scan() && !strings.Contains(lines.Text(), "waiting before") {
			t.Log(lines.Text())
		}
		if lines.Err() != nil || lines.Text() == "" {
			t.Fatalf("the agent ended: %v", lines.Err())
		}
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", cmd.Process.Pid))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads %v, %v", tasks, err)
	}
	var all []map[string]string
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			continue // it has ended
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(data)) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.TrimSpace(value)
		}
		all = append(all, fields)
	}
	return all
}
