package deploy_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// secret is every password of this test, and part of every address that has one.
const secret = "hunter2hunter2"

// TestNoSecretIsPrinted runs both programs with passwords, keys, and addresses that
// hold passwords, as wordy as they can be, and looks for them in all that is printed;
// and at the modes of all that is kept.
func TestNoSecretIsPrinted(t *testing.T) {
	l := newDisk(t)
	write(t, l.path("none.yaml"), "{}\n", 0o600)
	write(t, l.path("password"), secret+"\n", 0o600)
	private := l.encryptedRepository()
	l.agents()

	wordy := []string{"--repo", l.path("repo2"), "--json", "--verbose", "--log-format", "json"}
	keys := append(slices.Clone(wordy), "--keys", l.path("keys2"))
	for _, call := range [][]string{
		append([]string{"status"}, wordy...), append([]string{"verify"}, wordy...), append([]string{"list"}, wordy...),
		append([]string{"refresh"}, keys...), append([]string{"prune"}, keys...),
		append([]string{"publish", "--version", "2", "--kernel", l.path("1.0.0"), "--initramfs", l.path("2.0.0")}, keys...),
		append([]string{"promote", "--from", "stable", "--to", "beta"}, keys...),
		append([]string{"refresh", "--password-file", l.path("1.0.0")}, keys...), // which is wrong
	} {
		l.silent([]string{"REPO_TOOL_PASSWORD=" + secret}, "repo-tool", call, private)
	}
	cloud := []string{"AWS_ACCESS_KEY_ID=AK" + secret, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_SESSION_TOKEN=T" + secret, "AWS_REGION=r", "AWS_MAX_ATTEMPTS=1", "AWS_ENDPOINT_URL=http://127.0.0.1:1"}
	for _, place := range []string{"s3://bucket", "https://u:" + secret + "@127.0.0.1:1/x", "https://u:" + secret + "@%zz/", "s3://u:" + secret + "@b?x=1"} {
		l.silent(cloud, "repo-tool", []string{"status", "--repo", place, "--verbose", "--log-format", "json"}, private)
	}

	modes(t, l.path("keys2"))
	modes(t, l.path("keys"))
	modes(t, l.path("states"))
}

// newDisk is a lab without its containerd.
func newDisk(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir()}
	l.publish()
	l.attach()
	return l
}

// encryptedRepository makes a second repository, with encrypted keys, and returns what
// of the first one's plain private keys must never be seen.
func (l *lab) encryptedRepository() []string {
	l.t.Helper()
	output(l.t, l.path("repo-tool"), "init", "--repo", l.path("repo2"), "--keys", l.path("keys2"), "--password-file", l.path("password"))
	keys, err := filepath.Glob(l.path("keys/*.key"))
	if err != nil || len(keys) == 0 {
		l.t.Fatalf("keys %q, %v", keys, err)
	}
	var private []string
	for _, key := range keys {
		private = append(private, regexp.MustCompile(`(?m)^[A-Za-z0-9+/=]{40,}$`).FindAllString(read(l.t, key), -1)...)
	}
	if len(private) < len(keys) {
		l.t.Fatalf("%d lines of %d keys", len(private), len(keys))
	}
	return private
}

// agents runs the agent against servers and proxies whose addresses hold a password:
// unreachable ones, wrong ones, and a repository that is there.
func (l *lab) agents() {
	l.t.Helper()
	closed, wrong := "http://u:"+secret+"@127.0.0.1:1", "http://u:"+secret+"@%zz"
	var wait sync.WaitGroup // each asks a server that is not there five times
	for i, at := range []struct{ verb, server, proxy string }{
		{"check", closed, ""}, {"apply", closed, ""}, {"status", closed, ""}, {"activate", closed, ""},
		{"rollback", closed, ""}, {"healthcheck", closed, ""},
		{"check", wrong, ""}, {"check", "ftp://u:" + secret + "@h/", ""}, {"check", closed + "/?q", ""},
		{"check", "http://192.0.2.1/", closed}, {"check", "https://192.0.2.1/", closed}, {"check", "http://192.0.2.1/", wrong},
		{"check", "http://192.0.2.1/", "http://u:" + secret + "@[::1/"}, {"check", "file://" + l.path("repo"), ""},
	} {
		state := filepath.Join(l.path("states"), strconv.Itoa(i))
		if err := os.MkdirAll(state, 0o755); err != nil {
			l.t.Fatal(err)
		}
		args := []string{at.verb, "--server", at.server, "--root", l.path("etc/root.json"), "--state-dir", state, "--grubenv", l.path("esp/grubenv"),
			"--config", l.path("none.yaml"), "--disk", l.disk, "--booted-slot", "A", "--log-level", "debug", "--log-format", []string{"text", "json"}[i%2]}
		wait.Go(func() {
			l.silent([]string{"HTTP_PROXY=" + at.proxy, "HTTPS_PROXY=" + at.proxy, "KUBECONFIG=/none"}, "rootfs/usr/sbin/agent", args, nil)
		})
	}
	wait.Wait()
}

// silent runs a program, which may fail, and wants nothing secret in what it prints.
func (l *lab) silent(env []string, program string, args, private []string) {
	l.t.Helper()
	cmd := exec.Command(l.path(program), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if len(out) == 0 {
		l.t.Errorf("%s %q prints nothing: %v", program, args, err)
	}
	if strings.Contains(string(out), "flag provided but not defined") {
		l.t.Errorf("%s %q is not understood: %s", program, args, out)
	}
	for _, s := range append(private, secret) {
		if strings.Contains(string(out), s) {
			l.t.Errorf("%s %q with %q prints a secret:\n%s", program, args, env, out)
		}
	}
}

// modes wants files that only their owner can read, but for public keys and what says
// of a repository what everybody may know.
func modes(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		n++
		public := filepath.Ext(path) == ".pub" || e.Name() == "published.json" || e.Name() == "root.json"
		if mode := info.Mode().Perm(); mode != 0o600 && !public {
			t.Errorf("%s has mode %o", path, mode)
		}
		return nil
	})
	if err != nil || n < 3 {
		t.Errorf("%s: %d files, %v", dir, n, err)
	}
}
