package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// outcome is what came of a mutant.
type outcome struct {
	mutant
	by  string // the test that failed, or the promise of the torture that was broken; "": it survived
	err error  // why nothing can be said of it
}

// wrong says what is wrong with the outcome, or "".
func (o outcome) wrong() string {
	switch {
	case o.err != nil:
		return o.err.Error()
	case o.by == "" && o.survives == "":
		return "survived: " + o.command()
	case o.by != "" && o.survives != "":
		return "noticed by " + o.by + ", and the table says that nothing does"
	}
	return ""
}

func (m mutant) command() string {
	if m.story != "" {
		return "torture -short -stories " + m.story
	}
	return fmt.Sprintf("go test -short ./%s -run '%s'", m.pkg, m.tests)
}

// workshop runs mutants on the source in root.
type workshop struct {
	root    string
	dir     string              // for what is made on the way
	torture string              // the torture's program; "": stories are not run
	before  map[string]baseline // by package
}

// baseline is how a package's tests are with every protection in place.
type baseline struct {
	passed []string
	err    error // none could be run
}

var (
	errBuild    = errors.New("does not compile, which proves nothing")
	errBaseline = errors.New("fails with every protection in place")
)

// try runs a mutant.
func (b *workshop) try(ctx context.Context, m mutant) (o outcome) {
	o.mutant = m
	dir, err := os.MkdirTemp(b.dir, "mutant-")
	if err != nil {
		o.err = err
		return o
	}
	defer func() {
		if err := clean(dir); err != nil {
			o.err = errors.Join(o.err, fmt.Errorf("clean up: %w", err))
		}
	}()
	overlay, err := m.overlay(b.root, dir)
	if err != nil {
		o.err = err
		return o
	}
	if m.story != "" {
		o.by, o.err = b.tell(ctx, m.story, overlay)
		return o
	}
	tests := strings.Split(m.tests, "|")
	if o.err = b.sound(ctx, m); o.err != nil {
		return o
	}
	r, err := b.goTest(ctx, dir, m.pkg, pattern(tests), "-failfast", "-overlay", overlay)
	o.by, o.err = r.noticed, err
	return o
}

// sound is an error if a mutant's tests fail with every protection in place. On a busy
// machine a test may fail once; it gets a second try, alone.
func (b *workshop) sound(ctx context.Context, m mutant) error {
	before := b.before[m.pkg]
	failed := func(t string) bool { return !slices.Contains(before.passed, t) }
	if slices.ContainsFunc(m.topTests(), failed) {
		before = b.baseline(ctx, m.pkg, []mutant{m})
	}
	if i := slices.IndexFunc(m.topTests(), failed); i >= 0 {
		return errors.Join(fmt.Errorf("%s: %s: %w", m.pkg, m.topTests()[i], errBaseline), before.err)
	}
	return nil
}

// baseline has the tests of a package that any of its mutants needs pass.
func (b *workshop) baseline(ctx context.Context, pkg string, all []mutant) baseline {
	var tests []string
	for _, m := range all {
		if m.pkg == pkg {
			tests = append(tests, m.topTests()...)
		}
	}
	slices.Sort(tests)
	r, err := b.goTest(ctx, b.dir, pkg, pattern(slices.Compact(tests)))
	return baseline{r.passed, err}
}

// endAll has the end of a command's context end all of its processes: go test, the test,
// and what that has started.
func endAll(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// result is what a run of tests said.
type result struct {
	passed  []string // without subtests
	noticed string   // the first that failed
}

// event is one of go test's -json (`go doc test2json`).
type event struct {
	Action, Test, FailedBuild, Output string
}

// goTest runs tests of a package, which get their temporary folders in dir. It is an
// error if nothing was run.
func (b *workshop) goTest(ctx context.Context, dir, pkg, run string, more ...string) (result, error) {
	args := append([]string{"test", "-json", "-short", "-count=1", "-timeout=5m", "-run", run}, more...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+pkg)...)
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	endAll(cmd)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return result{}, context.Cause(ctx)
	}
	r, output, readErr := readEvents(out)
	switch {
	case readErr != nil:
		return r, fmt.Errorf("%w: %s", readErr, stderr.String())
	case err != nil && r.noticed == "":
		return r, fmt.Errorf("%w: %w: %s%s", errBuild, err, output, stderr.String())
	case err == nil && len(r.passed) == 0:
		return r, fmt.Errorf("go %s: no such test", strings.Join(args, " "))
	}
	return r, nil
}

// readEvents returns what a run's events say, and the output that belongs to no test.
func readEvents(out []byte) (r result, output string, err error) {
	running := ""
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return r, output, fmt.Errorf("%q is no event of a test", lines.Text())
		}
		switch {
		case e.Action == "run":
			running = e.Test
		case e.Action == "pass" && e.Test != "" && !strings.Contains(e.Test, "/"):
			r.passed, running = append(r.passed, e.Test), ""
		case e.Action == "fail" && e.Test != "" && r.noticed == "":
			r.noticed = e.Test
		case e.Action == "fail" && e.Test == "" && e.FailedBuild == "" && r.noticed == "":
			r.noticed = running // a panic ended the program
		case e.Test == "" && len(output) < 2000:
			output += e.Output
		}
	}
	return r, output, lines.Err()
}

// tell runs a story of the torture with an overlay, and returns the promise that was
// broken, or "".
func (b *workshop) tell(ctx context.Context, story, overlay string) (broken string, err error) {
	cmd := exec.CommandContext(ctx, b.torture, "-short", "-draws", "100", "-updates", "0", "-wholes", "0",
		"-stories", story, "-overlay", overlay, "-recordings", filepath.Join(b.dir, "recordings"))
	cmd.Dir = b.root
	endAll(cmd)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	var exit *exec.ExitError
	if err == nil {
		return "", nil
	} else if !errors.As(err, &exit) || exit.ExitCode() != 1 { // 2: it could not be tried
		return "", fmt.Errorf("torture: %w: %s", err, out)
	}
	first, _, _ := strings.Cut(string(out), " (seed")
	parts := strings.Split(first[strings.LastIndex(first, "\n")+1:], ": ")
	if len(parts) < 2 {
		return "", fmt.Errorf("torture: %s", out)
	}
	return fmt.Sprintf("torture, case %s: %s", parts[0], parts[1]), nil
}
