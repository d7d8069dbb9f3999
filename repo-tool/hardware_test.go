package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// pkcs11Plugin builds the plugin program and returns its folder. The test
// needs SoftHSM2 and a C compiler, which scripts/deps installs.
func pkcs11Plugin(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program, and needs softhsm2")
	}
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		t.Fatal("softhsm2-util is missing; to install it: make deps")
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "tufboot/repo-tool/sigstore-kms-pkcs11")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v (it needs a C compiler: make deps)\n%s", err, out)
	}
	return dir
}

// TestHardwareScripts runs the stories of testdata/hardware with a SoftHSM2
// token each.
func TestHardwareScripts(t *testing.T) {
	plugin := pkcs11Plugin(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/hardware",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", plugin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("SOFTHSM2_CONF", filepath.Join(env.WorkDir, "softhsm2.conf"))
			env.Setenv("TUFBOOT_PKCS11_MODULE", "/usr/lib/softhsm/libsofthsm2.so")
			env.Setenv("TUFBOOT_PKCS11_PIN_FILE", filepath.Join(env.WorkDir, "pin"))
			return newSoftHSM(t, env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// newSoftHSM makes a token named release in the folder.
func newSoftHSM(t *testing.T, dir string) error {
	tokens, conf := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+tokens+"\nlog.level = ERROR\n"), 0o600); err != nil {
		return err
	}
	c := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", "release", "--pin", "1234-user", "--so-pin", "5678-officer")
	c.Env = append(os.Environ(), "SOFTHSM2_CONF="+conf)
	if out, err := c.CombinedOutput(); err != nil {
		t.Logf("%s", out)
		return err
	}
	return nil
}

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestHardwareDocs runs the commands of docs/hardware-keys.md as they stand.
func TestHardwareDocs(t *testing.T) {
	plugin := pkcs11Plugin(t)
	page, err := os.ReadFile("../docs/hardware-keys.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for _, block := range shellBlock.FindAllSubmatch(page, -1) {
		script.Write(block[1])
	}
	if !strings.Contains(script.String(), "key self-test") {
		t.Fatal("the page has no commands to run")
	}
	dir := t.TempDir()
	shell := exec.CommandContext(t.Context(), "bash", "-euxc", script.String())
	shell.Dir = dir
	shell.Env = append(os.Environ(), "PATH="+plugin+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "keys", "timestamp.key")); err == nil {
		t.Error("the timestamp key is in a file")
	}
	for _, want := range []string{"ecdsa    ok ", "timestamp.uri", "signed again"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}
