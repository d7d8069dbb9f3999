package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	sys "golang.org/x/sys/unix"
)

// block is a fenced block of the document: commands for a machine, or what the
// commands before it print.
type block struct {
	line    int
	machine string // "" for output
	exits   string // the exit code, if it is not 0
	text    string
}

// TestKeyCeremony carries docs/key-ceremony.md out, line by line.
func TestKeyCeremony(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join("..", "docs", "key-ceremony.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := newMachines(t)
	var output string
	ran, compared := 0, 0
	for _, b := range blocks(t, string(doc)) {
		if b.machine == "" {
			if err := matches(b.text, output); err != nil {
				t.Fatalf("line %d: %v\nthe commands print:\n%s", b.line, err, output)
			}
			compared++
			continue
		}
		output = m.run(t, b)
		ran++
	}
	if ran < 30 || compared < 15 {
		t.Errorf("%d blocks ran and %d were compared: the document is not read rightly", ran, compared)
	}
}

// blocks returns the blocks that are run, and those that are output. A block of
// commands names its machine: "```sh anna" or "```sh anna exits 3"; others are
// prose.
func blocks(t *testing.T, doc string) []block {
	t.Helper()
	var list []block
	var now *block
	for i, line := range strings.Split(doc, "\n") {
		fence, ok := strings.CutPrefix(line, "```")
		switch {
		case ok && now != nil:
			if now.text != "" {
				list = append(list, *now)
			}
			now = nil
		case ok:
			now = &block{line: i + 1, exits: "0"}
			words := strings.Fields(fence)
			switch {
			case len(words) > 1 && words[0] == "sh":
				now.machine = words[1]
				if len(words) == 4 && words[2] == "exits" {
					now.exits = words[3]
				}
			case !slices.Equal(words, []string{"text"}):
				now = &block{} // prose; its text is dropped with it
			}
		case now != nil && now.line > 0:
			now.text += line + "\n"
		}
	}
	if now != nil {
		t.Fatal("a block has no end")
	}
	return list
}

// machines are folders that stand for separate machines, with a terminal on
// which somebody answers every question with yes.
type machines struct {
	dir string
	env []string
}

func newMachines(t *testing.T) *machines {
	t.Helper()
	m := &machines{dir: t.TempDir()}
	for _, place := range []string{"usb", "stick-ben", "stick-dana", "release"} {
		if err := os.Mkdir(filepath.Join(m.dir, place), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"vmlinuz", "initramfs"} {
		if err := os.WriteFile(filepath.Join(m.dir, "release", file), []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m.env = append(os.Environ(),
		"USB="+filepath.Join(m.dir, "usb"),
		"STICK_BEN="+filepath.Join(m.dir, "stick-ben"),
		"STICK_DANA="+filepath.Join(m.dir, "stick-dana"),
		passwordVariable+"=correct horse battery staple")
	return m
}

// run runs a block of commands on its machine.
func (m *machines) run(t *testing.T, b block) string {
	t.Helper()
	dir := filepath.Join(m.dir, b.machine)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	master, terminal := openTerminal(t)
	defer master.Close()
	defer terminal.Close()
	if _, err := master.WriteString(strings.Repeat("yes\n", strings.Count(b.text, "root sign"))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", b.text)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, m.env, terminal
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	code := "0"
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = fmt.Sprint(exit.ExitCode())
	} else if err != nil {
		t.Fatal(err)
	}
	if code != b.exits {
		t.Fatalf("line %d: on machine %s it exits with %s:\n%s%s", b.line, b.machine, code, b.text, out.String())
	}
	// The answer and its line end are shown by the terminal.
	return strings.ReplaceAll(out.String(), "[yes/no] ", "[yes/no] yes\n")
}

// openTerminal returns a terminal, and what is behind it.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|sys.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := sys.IoctlSetPointerInt(int(master.Fd()), sys.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := sys.IoctlGetInt(int(master.Fd()), sys.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|sys.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

// matches compares output with what the document shows: "…" stands for anything
// within a line, and alone on a line for any lines.
func matches(want, got string) error {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for _, line := range strings.SplitAfter(want, "\n") {
		if line == "…\n" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", `.*`))
	}
	pattern.WriteString(`\z`)
	if !regexp.MustCompile(pattern.String()).MatchString(got) {
		return fmt.Errorf("this is not what is shown:\n%s", want)
	}
	return nil
}

// TestMatches tries the comparison itself.
func TestMatches(t *testing.T) {
	for _, c := range []struct {
		want, got string
		ok        bool
	}{
		{"a\n", "a\n", true},
		{"a\n", "b\n", false},
		{"a\n", "a\nb\n", false},
		{"key …\n", "key 12\n", true},
		{"key …\n", "key 12\nmore\n", false},
		{"…\nend\n", "a\nb\nend\n", true},
		{"…\nend\n", "a\nend\nb\n", false},
		{"a.b\n", "axb\n", false},
	} {
		if err := matches(c.want, c.got); (err == nil) != c.ok {
			t.Errorf("%q and %q: %v", c.want, c.got, err)
		}
	}
}
