package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
)

// buildAgent compiles the agent of this checkout.
func buildAgent(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", out, "./agent")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return out
}

// Every flag and variable that deploy/ gives to the agent is one that it knows.
func TestAgentKnowsWhatItIsCalledWith(t *testing.T) {
	agent := buildAgent(t)
	m := build(t)
	calls := map[string]string{
		"CronJob": strings.Join(m.update.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Args, " "),
		"Job":     strings.Join(m.check.Spec.Template.Spec.Containers[0].Args, " "),
	}
	for _, name := range []string{"tufboot-healthcheck.service", "tufboot-update.service"} {
		calls[name] = strings.TrimPrefix(readUnit(t, name)["Service.ExecStart"][0], "/usr/sbin/agent ")
	}
	script := regexp.MustCompile(`"\$AGENT" (.*) "\$@"`).FindStringSubmatch(read(t, gateScript))
	if script == nil {
		t.Fatal("the init script does not call the agent")
	}
	calls["tufboot-gate"] = script[1] + " --reboot-on-failure"

	for where, call := range calls {
		verb, _, _ := strings.Cut(call, " ")
		help := output(t, agent, verb, "--help")
		flags := regexp.MustCompile(`--[a-z-]+`).FindAllString(call, -1)
		if len(flags) == 0 {
			t.Errorf("%s: %q has no flags", where, call)
		}
		for _, flag := range flags {
			if !regexp.MustCompile(`(?m)^\s+` + flag + `(,| |$)`).MatchString(help) {
				t.Errorf("%s: `agent %s` has no %s", where, verb, flag)
			}
		}
	}
	help := output(t, agent, "update", "--help")
	for _, name := range []string{"TUFBOOT_REFUSAL_OK", "TUFBOOT_SPLAY"} {
		if !strings.Contains(help, "[$"+name+"]") {
			t.Errorf("`agent update` does not know %s", name)
		}
	}
}

// The refusals that the CronJob tolerates are reason codes of the agent.
func TestToleratedRefusalsExist(t *testing.T) {
	codes := read(t, "../../agent/update/refusal.go")
	env := build(t).update.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Env
	if len(env) != 2 || env[0].Name != "TUFBOOT_REFUSAL_OK" {
		t.Fatalf("env %+v", env)
	}
	for reason := range strings.SplitSeq(env[0].Value, ",") {
		if !strings.Contains(codes, `= "`+reason+`"`) {
			t.Errorf("%q is no reason code", reason)
		}
	}
}

// The Job's command line with the ConfigMap's configuration, run as the Job runs
// it: without any device. Nothing here is healthy, so it ends with 5 and says so
// of the three checks; a misspelt key would end with 2.
func TestJobRunsTheAgentWithItsConfiguration(t *testing.T) {
	code, out := runJob(t, buildAgent(t), build(t).check, build(t).config.Data["agent.yaml"])
	var report struct {
		Verdict string
		Health  struct {
			Results []struct{ Name string }
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("exit code %d: %v\n%s", code, err, out)
	}
	var names []string
	for _, r := range report.Health.Results {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); code != 5 || report.Verdict != "none" || got != "containerd api-server node-ready" {
		t.Errorf("exit code %d, verdict %q, checks %q", code, report.Verdict, got)
	}
}

func TestConfigurationIsStrict(t *testing.T) {
	if code, out := runJob(t, buildAgent(t), build(t).check, "serwer: x\n"); code != 2 {
		t.Errorf("exit code %d: %s", code, out)
	}
}

func runJob(t *testing.T, agent string, job batchv1.Job, config string) (int, string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "agent.yaml"), config, 0o644)
	var args []string
	for _, a := range job.Spec.Template.Spec.Containers[0].Args {
		a = strings.Replace(a, "/config/", dir+"/", 1)
		args = append(args, strings.Replace(a, "--wait=10m", "--wait=1ms", 1))
	}
	cmd := exec.Command(agent, args...)
	cmd.Env = []string{"NODE_NAME=n1", "PATH=/none"}
	out, err := cmd.Output()
	return exitCode(t, err), string(out)
}
