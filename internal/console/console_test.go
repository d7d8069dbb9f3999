package console

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refused is an error with everything that an error can have.
type refused struct{}

func (refused) Error() string      { return "refused" }
func (refused) ExitCode() int      { return ExitRefused }
func (refused) ReasonCode() string { return "because" }
func (refused) Hint() string       { return "do this" }

func TestErrors(t *testing.T) {
	plain := errors.New("plain")
	for _, c := range []struct {
		err          error
		code         int
		reason, hint string
	}{
		{nil, ExitDone, "error", ""},
		{plain, ExitFailed, "error", ""},
		{refused{}, ExitRefused, "because", "do this"},
		{fmt.Errorf("open: %w", refused{}), ExitRefused, "because", "do this"},
		{errors.Join(plain, refused{}), ExitRefused, "because", "do this"},
		{Usagef("no %s", "flag"), ExitUsage, "usage", ""},
		{&UsageError{Err: refused{}}, ExitUsage, "usage", "do this"},
	} {
		if got := ExitCode(c.err); got != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.code)
		}
		if got := ReasonCode(c.err); got != c.reason {
			t.Errorf("%v: reason %q, want %q", c.err, got, c.reason)
		}
		if got := Hint(c.err); got != c.hint {
			t.Errorf("%v: hint %q, want %q", c.err, got, c.hint)
		}
	}
}

func TestPrintError(t *testing.T) {
	for _, c := range []struct {
		err  error
		json bool
		want string
	}{
		{errors.New("plain"), false, "prog: error: plain\n"},
		{Usagef("usage"), false, "prog: error: usage\n"},
		{refused{}, false, "prog: error: refused\nprog: reason: because\nprog: what to do: do this\n"},
		{refused{}, true, "{\n  \"error\": \"refused\",\n  \"reason\": \"because\",\n  \"hint\": \"do this\"\n}\n"},
		{errors.New("<a>"), true, "{\n  \"error\": \"<a>\",\n  \"reason\": \"error\"\n}\n"},
	} {
		var b bytes.Buffer
		PrintError(&b, "prog", c.err, c.json)
		if b.String() != c.want {
			t.Errorf("got %q, want %q", b.String(), c.want)
		}
	}
}

func TestLogger(t *testing.T) {
	for format, want := range map[string]string{"text": "level=WARN msg=m k=v", "json": `"level":"WARN","msg":"m","k":"v"`} {
		var b bytes.Buffer
		l, err := Logger(&b, format, slog.LevelWarn)
		if err != nil {
			t.Fatal(err)
		}
		l.Info("quiet")
		l.Warn("m", "k", "v")
		if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "quiet") {
			t.Errorf("%s: %q", format, b.String())
		}
	}
	if _, err := Logger(nil, "xml", slog.LevelInfo); ExitCode(err) != ExitUsage {
		t.Errorf("got %v", err)
	}
}

// TestProgressInLog shows progress to a file: a line at every tenth, no bar.
func TestProgressInLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := NewProgress(f, "kernel", 1000)
	for done := int64(0); done <= 1000; done += 50 {
		p.Set(done)
	}
	p.Close()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(got)), "\n")
	if len(lines) != 10 || lines[0] != "kernel: 10% of 1000 bytes" || lines[9] != "kernel: 100% of 1000 bytes" {
		t.Errorf("got %q", lines)
	}
}

// TestBar shows progress to a terminal: one line that is drawn over and goes
// away at the end, and not once for each of many small steps.
func TestBar(t *testing.T) {
	var out strings.Builder
	p := &Progress{out: &out, terminal: true, label: "kernel", total: 30e6}
	for range 1000 {
		p.Set(15e6)
	}
	p.Close()
	first := clearLine + "kernel [" + strings.Repeat("=", 15) + strings.Repeat(" ", 15) + "] 15/30 MB"
	if got := out.String(); !strings.HasPrefix(got, first) || !strings.HasSuffix(got, clearLine) || strings.Count(got, "kernel") == 1000 {
		t.Errorf("got %q", got)
	}
	for done, want := range map[int64]int{-1: 0, 0: 0, 1: 0, 30e6: 30, 31e6: 30} {
		if n := strings.Count(bar("x", done, 30e6), "="); n != want {
			t.Errorf("%d bytes of 30 MB: %d of 30 are filled, want %d", done, n, want)
		}
	}
}

// TestNoProgress uses what shows nothing, which must not fail.
func TestNoProgress(*testing.T) {
	for _, p := range []*Progress{nil, {}} {
		p.Set(1)
		p.Close()
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := Completion("some-tool", shell)
		if err != nil || !strings.Contains(script, "some_tool_complete") || strings.Contains(script, "NAME") {
			t.Errorf("%s: %q, %v", shell, script, err)
		}
	}
	if _, err := Completion("some-tool", "tcsh"); ExitCode(err) != ExitUsage {
		t.Errorf("got %v", err)
	}
}
