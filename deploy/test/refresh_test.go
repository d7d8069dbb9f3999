package deploy_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const schedulers = "../repository"

// keeper is one of the pieces in deploy/repository. It runs its commands on the
// repository, with the keys, and returns what they print and whether they end
// well.
type keeper func(t *testing.T, tool, repo, keys, password string) (string, error)

func keepers() map[string]keeper {
	return map[string]keeper{"GitHub Actions": runWorkflow, "systemd": runUnit, "Kubernetes": runCronJob}
}

// TestKeepers runs the commands of each piece for real: on a repository in which
// nothing is due, in which the timestamp is, and in which the root is, which the
// scheduler can only report.
func TestKeepers(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "repo-tool")
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", tool, "./repo-tool")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, run := range keepers() {
		for _, c := range []struct {
			name   string
			age    time.Duration // of everything in the repository
			signed bool          // the timestamp is signed again
			fails  bool
		}{
			{"nothing is due", time.Hour, false, false},
			{"the timestamp is due", 8 * 24 * time.Hour, true, false},
			{"the timestamp has expired", 20 * 24 * time.Hour, true, false},
			{"the root is due", 310 * 24 * time.Hour, true, true},
			{"the root is about to expire", 363 * 24 * time.Hour, true, true},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				repo, keys, password := agedRepository(t, tool, c.age)
				timestamp := filepath.Join(repo, "metadata", "timestamp.json")
				before := read(t, timestamp)
				out, err := run(t, tool, repo, keys, password)
				if (err != nil) != c.fails {
					t.Errorf("%v\n%s", err, out)
				}
				if signed := read(t, timestamp) != before; signed != c.signed {
					t.Errorf("the timestamp was signed: %v, want %v\n%s", signed, c.signed, out)
				}
			})
		}
		t.Run(name+"/without a key it fails", func(t *testing.T) {
			t.Parallel()
			repo, keys, password := agedRepository(t, tool, 8*24*time.Hour)
			for _, name := range []string{"timestamp.key", "timestamp.pub"} {
				if err := os.Remove(filepath.Join(keys, name)); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := run(t, tool, repo, keys, password); err == nil {
				t.Errorf("it does not\n%s", out)
			}
		})
	}
}

// agedRepository makes a repository that was signed some time ago, and a folder
// with the two keys of a scheduler.
func agedRepository(t *testing.T, tool string, age time.Duration) (repo, keys, password string) {
	t.Helper()
	dir := t.TempDir()
	repo, keys, password = filepath.Join(dir, "repo"), filepath.Join(dir, "scheduler"), filepath.Join(dir, "password")
	write(t, password, "secret\n", 0o600)
	all := filepath.Join(dir, "keys")
	output(t, tool, "init", "--repo", repo, "--keys", all, "--password-file", password,
		"--unsafe-now", time.Now().Add(-age).UTC().Format(time.RFC3339))
	for _, role := range []string{"snapshot", "timestamp"} {
		for suffix, mode := range map[string]os.FileMode{".key": 0o600, ".pub": 0o644} {
			write(t, filepath.Join(keys, role+suffix), read(t, filepath.Join(all, role+suffix)), mode)
		}
	}
	return repo, keys, password
}

// command runs a command with an environment of its own.
func command(t *testing.T, env map[string]string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = t.TempDir()
	for _, key := range slices.Sorted(maps.Keys(env)) {
		cmd.Env = append(cmd.Env, key+"="+env[key])
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
