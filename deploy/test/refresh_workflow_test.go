package deploy_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// workflow is what GitHub reads of a workflow file; a key that it does not know
// fails.
type workflow struct {
	Name string `yaml:"name"`
	On   struct {
		Schedule []struct {
			Cron string `yaml:"cron"`
		} `yaml:"schedule"`
		WorkflowDispatch struct{} `yaml:"workflow_dispatch"`
	} `yaml:"on"`
	Permissions map[string]string `yaml:"permissions"`
	Concurrency struct {
		Group  string `yaml:"group"`
		Cancel bool   `yaml:"cancel-in-progress"`
	} `yaml:"concurrency"`
	Jobs map[string]struct {
		RunsOn      string            `yaml:"runs-on"`
		Environment string            `yaml:"environment"`
		Timeout     int               `yaml:"timeout-minutes"`
		Env         map[string]string `yaml:"env"`
		Steps       []step            `yaml:"steps"`
	} `yaml:"jobs"`
}

type step struct {
	Name string            `yaml:"name"`
	If   string            `yaml:"if"`
	Uses string            `yaml:"uses"`
	With map[string]string `yaml:"with"`
	Env  map[string]string `yaml:"env"`
	Run  string            `yaml:"run"`
}

func readWorkflow(t *testing.T) workflow {
	t.Helper()
	var w workflow
	d := yaml.NewDecoder(strings.NewReader(read(t, filepath.Join(schedulers, "github-actions/refresh.yml"))))
	d.KnownFields(true)
	if err := d.Decode(&w); err != nil {
		t.Fatal(err)
	}
	return w
}

// runWorkflow runs the steps as a runner does: each with bash -e, in order, none
// after a failure but those that say so. Actions of others are left out.
func runWorkflow(t *testing.T, tool, repo, keys, password string) (string, error) {
	t.Helper()
	job := readWorkflow(t).Jobs["refresh"]
	sum, _, _ := strings.Cut(output(t, "sha256sum", tool), " ")
	values := map[string]string{
		"vars.REPO_TOOL_REPO": repo, "vars.REPO_TOOL_URL": "file://" + tool, "vars.REPO_TOOL_SHA256": sum,
		"secrets.KEYS_PASSWORD": strings.TrimSpace(read(t, password)),
	}
	for _, role := range []string{"snapshot", "timestamp"} {
		for suffix, kind := range map[string]string{"key": "secrets", "pub": "vars"} {
			if data, err := os.ReadFile(filepath.Join(keys, role+"."+suffix)); err == nil {
				values[kind+"."+strings.ToUpper(role+"_"+suffix)] = strings.TrimSpace(string(data))
			}
		}
	}
	temp := t.TempDir()
	base := map[string]string{"PATH": os.Getenv("PATH"), "RUNNER_TEMP": temp}
	addEnv(base, job.Env, values)
	var out strings.Builder
	var failed error
	for _, s := range job.Steps {
		if s.Run == "" || failed != nil && s.If == "" {
			continue
		}
		env := maps.Clone(base)
		addEnv(env, s.Env, values)
		text, err := command(t, env, "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", s.Run)
		fmt.Fprintf(&out, "== %s\n%s", s.Name, text)
		if err != nil && failed == nil {
			failed = fmt.Errorf("step %s: %w", s.Name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(temp, "keys")); err == nil {
		t.Error("the keys are left on the runner")
	}
	return out.String(), failed
}

var expression = regexp.MustCompile(`\$\{\{ ([a-zA-Z._0-9]+) \}\}`)

// addEnv adds variables with their expressions filled in; one that is not set is
// empty, as on GitHub.
func addEnv(env, more, values map[string]string) {
	for key, value := range more {
		env[key] = expression.ReplaceAllStringFunc(value, func(e string) string {
			return values[expression.FindStringSubmatch(e)[1]]
		})
	}
}

// TestWorkflow checks what a run cannot show.
func TestWorkflow(t *testing.T) {
	w := readWorkflow(t)
	job := w.Jobs["refresh"]
	if len(w.On.Schedule) != 1 || !regexp.MustCompile(`^[1-9][0-9]? \d+ \* \* \*$`).MatchString(w.On.Schedule[0].Cron) {
		t.Errorf("schedule %+v: want daily, not on the hour", w.On.Schedule)
	}
	if len(w.Permissions) != 1 || w.Permissions["id-token"] != "write" || job.Environment == "" || job.Timeout == 0 ||
		job.Timeout > 30 || w.Concurrency.Group == "" || w.Concurrency.Cancel || strings.Contains(job.RunsOn, "latest") {
		t.Errorf("got %+v", w)
	}
	shellcheck := needTool(t, "shellcheck", "shellcheck")
	for _, s := range job.Steps {
		cmd := exec.Command(shellcheck, "--shell=bash", "-")
		cmd.Stdin = strings.NewReader(s.Run)
		if out, err := cmd.CombinedOutput(); s.Run != "" && err != nil {
			t.Errorf("step %s: %v\n%s", s.Name, err, out)
		}
		if s.Uses != "" && !regexp.MustCompile(`^[a-z-]+/[a-z-]+@v[0-9]+$`).MatchString(s.Uses) {
			t.Errorf("%s is not pinned by its major version", s.Uses)
		}
		// An expression in a script is a place to inject commands.
		if strings.Contains(s.Run, "${{") {
			t.Errorf("step %s: an expression in the script; give it by env", s.Name)
		}
		for key, value := range s.Env {
			if strings.HasSuffix(key, "_KEY") != strings.Contains(value, "secrets.") && key != "REPO_TOOL_PASSWORD" {
				t.Errorf("step %s: %s: %s", s.Name, key, value)
			}
		}
	}
	last := job.Steps[len(job.Steps)-1]
	if last.If != "${{ always() }}" || !strings.Contains(last.Run, "rm -rf") {
		t.Errorf("the last step is %+v", last)
	}
}
