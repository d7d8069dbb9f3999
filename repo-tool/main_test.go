package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the golden files and the man page again")

const anyInitramfs = "REPO_TOOL_UNSAFE_ANY_INITRAMFS"

func TestMain(m *testing.M) {
	// The tests' releases are of text. publish.txtar sets it to nothing.
	if _, set := os.LookupEnv(anyInitramfs); !set {
		if err := os.Setenv(anyInitramfs, "1"); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, map[string]func(){"repo-tool": main})
}

// TestScripts runs the scripts of testdata/script, each of which is a story
// that a release engineer can follow.
func TestScripts(t *testing.T) {
	fixtures, err := filepath.Abs("../testdata/tuf-repo")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Abs("../testdata/keys")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("FIXTURES", fixtures)
			env.Setenv("KEYS", keys)
			env.Setenv(anyInitramfs, "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits is the script command "exits CODE PROGRAM ARG...": it runs the program
// and wants that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s exits with %d, want %d", args[1], got, want)
	}
}

// runHere runs the program in this process.
func runHere(ctx context.Context, t *testing.T, stdout, stderr interface{ Write([]byte) (int, error) }, args ...string) int {
	t.Helper()
	return run(ctx, append([]string{"repo-tool"}, args...), stdout, stderr)
}
