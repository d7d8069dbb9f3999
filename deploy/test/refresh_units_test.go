package deploy_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// runUnit runs the commands of the service as systemd does: with the credentials
// in a folder of their own.
func runUnit(t *testing.T, tool, repo, keys, password string) (string, error) {
	t.Helper()
	u := readUnitIn(t, filepath.Join(schedulers, "systemd"), "tufboot-refresh.service")
	credentials := t.TempDir()
	for _, c := range u["Service.LoadCredential"] {
		id, _, _ := strings.Cut(c, ":")
		from := map[string]string{"keys": keys, "password": password}[id]
		files, err := filepath.Glob(filepath.Join(from, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			write(t, filepath.Join(credentials, id), read(t, from), 0o400)
		}
		for _, file := range files { // a folder: systemd.exec(5)
			write(t, filepath.Join(credentials, id+"_"+filepath.Base(file)), read(t, file), 0o400)
		}
	}
	var out strings.Builder
	for _, line := range u["Service.ExecStart"] {
		args := strings.Fields(strings.ReplaceAll(line, "%d", credentials))
		if args[0] != "/usr/bin/repo-tool" {
			t.Fatalf("%q", line)
		}
		text, err := command(t, map[string]string{"REPO_TOOL_REPO": repo}, tool, args[1:]...)
		out.WriteString(text)
		if err != nil {
			return out.String(), err
		}
	}
	return out.String(), nil
}

// TestRefreshUnits lets systemd read the units and judge how much they may do.
func TestRefreshUnits(t *testing.T) {
	tool := needTool(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	args := []string{"verify", "--man=no", "--recursive-errors=no"}
	for _, name := range []string{"tufboot-refresh.service", "tufboot-refresh.timer", "tufboot-refresh-alert.service"} {
		text := read(t, filepath.Join(schedulers, "systemd", name))
		for _, program := range []string{"/usr/bin/repo-tool", "/etc/tufboot-refresh/alert"} {
			text = strings.ReplaceAll(text, program+" ", "/bin/true ")
			text = strings.ReplaceAll(text, "=-"+program, "=-/bin/true")
		}
		write(t, filepath.Join(dir, name), text, 0o644)
		args = append(args, filepath.Join(dir, name))
	}
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "tufboot") {
		t.Errorf("%v\n%s", err, out)
	}
	// 2.0 of 10: what is open is the network.
	out, err = exec.Command(tool, "security", "--offline=true", "--no-pager", "--threshold=20", filepath.Join(dir, "tufboot-refresh.service")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	u := readUnitIn(t, filepath.Join(schedulers, "systemd"), "tufboot-refresh.service")
	if !slices.Equal(u["Unit.OnFailure"], []string{"tufboot-refresh-alert.service"}) || u["Service.SuccessExitStatus"] != nil {
		t.Errorf("the alert: %v", u)
	}
	for _, line := range u["Service.ExecStart"] {
		if strings.HasPrefix(line, "-") {
			t.Errorf("%q: its failure would not be seen", line)
		}
	}
	timer := readUnitIn(t, filepath.Join(schedulers, "systemd"), "tufboot-refresh.timer")
	calendar := output(t, tool, "calendar", "--iterations=3", timer["Timer.OnCalendar"][0])
	if strings.Count(calendar, "05:23:00 UTC") < 3 || !slices.Equal(timer["Timer.Persistent"], []string{"yes"}) {
		t.Errorf("timer %v:\n%s", timer, calendar)
	}
}
