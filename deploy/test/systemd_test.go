package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const unitDir = "../systemd"

// unit is a unit file's settings: "Section.Key" to its values in order.
type unit map[string][]string

func readUnit(t *testing.T, name string) unit {
	t.Helper()
	return readUnitIn(t, unitDir, name)
}

func readUnitIn(t *testing.T, dir, name string) unit {
	t.Helper()
	u, section := unit{}, ""
	for line := range strings.Lines(read(t, filepath.Join(dir, name))) {
		line = strings.TrimSpace(line)
		switch key, value, found := strings.Cut(line, "="); {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case found:
			u[section+"."+key] = append(u[section+"."+key], value)
		default:
			t.Errorf("%s: %q", name, line)
		}
	}
	return u
}

// span reads one setting as a time span.
func (u unit) span(t *testing.T, key string) time.Duration {
	t.Helper()
	if len(u[key]) != 1 {
		t.Fatalf("%s: %q", key, u[key])
	}
	d, err := time.ParseDuration(strings.Replace(u[key][0], "min", "m", 1))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// systemd itself reads every unit and has nothing to say against it.
func TestUnitsVerify(t *testing.T) {
	tool := needTool(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	agent := filepath.Join(dir, "agent")
	write(t, agent, "#!/bin/sh\n", 0o755)
	entries, err := os.ReadDir(unitDir)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"verify", "--man=no", "--recursive-errors=no"}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		write(t, path, strings.ReplaceAll(read(t, filepath.Join(unitDir, e.Name())), "/usr/sbin/agent", agent), 0o644)
		args = append(args, path)
	}
	if len(args) != 3+9 {
		t.Errorf("%d units", len(args)-3)
	}
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// Unknown keys and the like are only warned of.
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "tufboot") {
			t.Error(strings.TrimSpace(line))
		}
	}
}

func TestVerifyFindsAMisspeltKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tufboot-x.service")
	write(t, path, "[Service]\nExecStrat=/bin/true\nExecStart=/bin/true\n", 0o644)
	out, _ := exec.Command(needTool(t, "systemd-analyze", "systemd"), "verify", "--man=no", path).CombinedOutput()
	if !strings.Contains(string(out), "tufboot-x") {
		t.Errorf("systemd-analyze says nothing: %s", out)
	}
}

// The times of the gate, each above the one that it must outlast.
func TestGateTimes(t *testing.T) {
	gate := readUnit(t, "tufboot-healthcheck.service")
	cmd := gate["Service.ExecStart"][0]
	flag := func(name string) time.Duration {
		m := regexp.MustCompile(`--` + name + ` (\S+)`).FindStringSubmatch(cmd)
		if m == nil {
			t.Fatalf("%q lacks --%s", cmd, name)
		}
		d, err := time.ParseDuration(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	// The lock is taken twice: before the checks and for the verdict.
	agent := flag("wait") + 2*flag("lock-wait")
	start := gate.span(t, "Service.TimeoutStartSec")
	deadline := readUnit(t, "tufboot-trial-deadline.timer").span(t, "Timer.OnBootSec")
	if start <= agent || deadline <= start+gate.span(t, "Service.TimeoutStopSec") {
		t.Errorf("the agent may take %s, the unit %s, the boot %s", agent, start, deadline)
	}
}

// The gate must run when containerd or the kubelet do not come up, so it must
// neither need them nor be ordered after them; and however it fails, a trial is
// rebooted.
func TestGateDependsOnNothingThatMayBeBroken(t *testing.T) {
	gate := readUnit(t, "tufboot-healthcheck.service")
	for _, key := range []string{"After", "Requires", "Wants", "BindsTo", "Requisite", "PartOf"} {
		if v := gate["Unit."+key]; v != nil {
			t.Errorf("%s=%s", key, v)
		}
	}
	if !slices.Equal(gate["Unit.OnFailure"], []string{"tufboot-trial-failed.service"}) ||
		!strings.Contains(gate["Service.ExecStart"][0], "--reboot-on-failure") ||
		gate["Service.SuccessExitStatus"] != nil || strings.HasPrefix(gate["Service.ExecStart"][0], "-") {
		t.Errorf("got %v", gate)
	}
}

// A reboot by failure happens on trial boots only: a committed node that is
// unhealthy must not reboot for ever.
func TestOnlyTrialsAreRebooted(t *testing.T) {
	want := []string{"tufboot.try", "!tufboot.try=0"}
	for _, name := range []string{"tufboot-trial-failed.service", "tufboot-trial-deadline.timer", "tufboot-watchdog.service"} {
		u := readUnit(t, name)
		if !slices.Equal(u["Unit.ConditionKernelCommandLine"], want) || !slices.Equal(u["Unit.DefaultDependencies"], []string{"no"}) {
			t.Errorf("%s: %v", name, u)
		}
	}
	failed := readUnit(t, "tufboot-trial-failed.service")
	marker := failed["Unit.ConditionPathExists"]
	post := readUnit(t, "tufboot-healthcheck.service")["Service.ExecStartPost"]
	if len(marker) != 1 || len(post) != 1 || !strings.HasSuffix(post[0], " "+strings.TrimPrefix(marker[0], "!")) || marker[0][0] != '!' {
		t.Errorf("the marker %q is not what %q leaves", marker, post)
	}
	timer := readUnit(t, "tufboot-trial-deadline.timer")
	if !slices.Equal(timer["Unit.IgnoreOnIsolate"], []string{"yes"}) || !slices.Equal(timer["Timer.Unit"], []string{"tufboot-trial-failed.service"}) {
		t.Errorf("the deadline: %v", timer)
	}
	for _, name := range []string{"tufboot-healthcheck.service", "tufboot-update.service"} {
		for key := range readUnit(t, name) {
			if strings.HasSuffix(key, "Action") {
				t.Errorf("%s: %s is not limited to trials", name, key)
			}
		}
	}
}

// A boot is given back by a unit of its own, which only a shutdown stops, after the gate
// and before the state is unmounted; and never one that failed.
func TestCleanRebootIsGivenBack(t *testing.T) {
	u := readUnit(t, "tufboot-give-back.service")
	for key, want := range map[string][]string{
		"Unit.ConditionKernelCommandLine": {"tufboot.try", "!tufboot.try=0"},
		"Unit.Before":                     {"tufboot-healthcheck.service"},
		"Unit.RequiresMountsFor":          readUnit(t, "tufboot-healthcheck.service")["Unit.RequiresMountsFor"],
		"Unit.RefuseManualStop":           {"yes"},
		"Unit.IgnoreOnIsolate":            {"yes"},
		"Unit.DefaultDependencies":        nil, // Conflicts=shutdown.target comes with them
		"Service.RemainAfterExit":         {"yes"},
	} {
		if !slices.Equal(u[key], want) {
			t.Errorf("%s=%q, want %q", key, u[key], want)
		}
	}
	if len(u["Service.ExecStop"]) != 1 || !strings.Contains(u["Service.ExecStop"][0], "/agent healthcheck --give-back") {
		t.Errorf("ExecStop=%q", u["Service.ExecStop"])
	}
	failed := readUnit(t, "tufboot-trial-failed.service")["Service.ExecStartPre"]
	dir, file := filepath.Split(strings.TrimPrefix(failed[len(failed)-1], "-/usr/bin/touch "))
	if !strings.Contains(read(t, "../../agent/update/giveback.go"), `TrialFailed = "`+file+`"`) ||
		!strings.Contains(read(t, "../../agent/config.go"), `"`+filepath.Clean(dir)+`"`) {
		t.Errorf("%s%s is not what the agent looks for", dir, file)
	}
}

// The watchdog runs from the beginning up to the very end of the shutdown, and is
// patient for longer than everything else that ends a trial.
func TestWatchdogUnit(t *testing.T) {
	u := readUnit(t, "tufboot-watchdog.service")
	for _, key := range []string{"Unit.Conflicts", "Unit.After", "Unit.Requires", "Unit.RequiresMountsFor"} {
		if u[key] != nil {
			t.Errorf("%s=%q", key, u[key])
		}
	}
	if !slices.Equal(u["Install.WantedBy"], []string{"sysinit.target"}) || !slices.Equal(u["Service.SuccessExitStatus"], []string{"3"}) {
		t.Errorf("got %v", u)
	}
	// health.deadline is 10 minutes by default, and the agent adds its margin.
	m := regexp.MustCompile(`watchdogMargin = (\d+) \* time.Minute`).FindStringSubmatch(read(t, "../../agent/watchdog.go"))
	if m == nil {
		t.Fatal("the agent's margin is not where it was")
	}
	margin, err := time.ParseDuration(m[1] + "m")
	if deadline := readUnit(t, "tufboot-trial-deadline.timer").span(t, "Timer.OnBootSec"); err != nil || 10*time.Minute+margin <= deadline {
		t.Errorf("the margin is %s, the deadline %s (%v)", m[1], deadline, err)
	}
}

// The conditions mean to systemd what they are meant to.
func TestConditionsOnTheKernelCommandLine(t *testing.T) {
	tool := needTool(t, "systemd-analyze", "systemd")
	args := []string{"condition"}
	for _, c := range readUnit(t, "tufboot-trial-failed.service")["Unit.ConditionKernelCommandLine"] {
		args = append(args, "ConditionKernelCommandLine="+c)
	}
	for line, want := range map[string]bool{
		"quiet tufboot.slot=A tufboot.boot_id=0123456789abcdef tufboot.try=1 panic=10": true,
		"tufboot.try=3":                    true,
		"tufboot.try=10":                   true,
		"tufboot.slot=A tufboot.try=0":     false,
		"quiet":                            false,
		"root=/dev/x nottufboot.try=1":     false,
		"tufboot.tryagain=1":               false,
		"tufboot.slot=B panic=10 console=": false,
	} {
		cmd := exec.Command(tool, args...)
		cmd.Env = append(os.Environ(), "SYSTEMD_PROC_CMDLINE="+line)
		out, err := cmd.CombinedOutput()
		if (err == nil) != want {
			t.Errorf("%q: %v\n%s", line, err, out)
		}
	}
}

func TestSentinelIsTheAgents(t *testing.T) {
	const sentinel = "/run/tufboot/reboot-required"
	if got := readUnit(t, "tufboot-reboot.path")["Path.PathExists"]; !slices.Equal(got, []string{sentinel}) {
		t.Errorf("path unit: %q", got)
	}
	if got := readUnit(t, "tufboot-reboot.service")["Unit.ConditionPathExists"]; !slices.Equal(got, []string{sentinel}) {
		t.Errorf("service: %q", got)
	}
	if !strings.Contains(read(t, filepath.Join(base, "agent.yaml")), "sentinel: "+sentinel) {
		t.Error("agent.yaml names another")
	}
}

// A refusal, exit code 3, is no failure of the update's unit.
func TestRefusalIsNoFailureOfTheUnit(t *testing.T) {
	u := readUnit(t, "tufboot-update.service")
	if !slices.Equal(u["Service.SuccessExitStatus"], []string{"3"}) {
		t.Errorf("got %v", u["Service.SuccessExitStatus"])
	}
}

func TestTimerRunsEverySixHours(t *testing.T) {
	u := readUnit(t, "tufboot-update.timer")
	out := output(t, needTool(t, "systemd-analyze", "systemd"), "calendar", "--iterations=5", u["Timer.OnCalendar"][0])
	if n := strings.Count(out, ":17:00 UTC"); n < 5 {
		t.Errorf("got %s", out)
	}
	if u["Timer.FixedRandomDelay"] == nil || u["Timer.Persistent"] == nil {
		t.Errorf("got %v", u)
	}
	// Over most of the six hours, and never into the next run's.
	if d := u.span(t, "Timer.RandomizedDelaySec"); d < 4*time.Hour || d > 5*time.Hour+30*time.Minute {
		t.Errorf("a fleet is spread over %v", d)
	}
}

// What the update's unit takes away is not more than the agent needs: disks, its
// capability, its system calls. The scores are systemd's own (10 is the worst).
func TestUnitsAreConfined(t *testing.T) {
	u := readUnit(t, "tufboot-update.service")
	for key, want := range map[string]string{
		"Service.CapabilityBoundingSet": "CAP_SYS_ADMIN",
		"Service.DevicePolicy":          "closed",
		"Service.DeviceAllow":           "block-* rw",
		"Service.ProtectSystem":         "full",
		"Service.ReadWritePaths":        "-/boot -/efi", // the ESP is often mounted there
		"Service.SystemCallFilter":      "@system-service fsopen fsconfig fsmount seccomp",
	} {
		if !slices.Equal(u[key], []string{want}) {
			t.Errorf("%s is %q, want %q", key, u[key], want)
		}
	}
	if u["Service.ProcSubset"] != nil || u["Service.PrivateDevices"] != nil || u["Service.PrivateUsers"] != nil || u["Service.PrivateNetwork"] != nil {
		t.Errorf("the agent needs /proc/cmdline, disks, real root and the network: %v", u)
	}
	tool := needTool(t, "systemd-analyze", "systemd")
	for name, most := range map[string]string{"tufboot-update.service": "30", "tufboot-healthcheck.service": "93"} {
		out, err := exec.Command(tool, "security", "--offline=true", "--threshold="+most, filepath.Join(unitDir, name)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
