//go:build !urfave_cli_no_docs

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v2"
)

// TestManPage compares docs/man/repo-tool.8 with what the command line says.
func TestManPage(t *testing.T) {
	markdown, err := manApp().ToMarkdown()
	if err != nil {
		t.Fatal(err)
	}
	got := md2man.Render([]byte("% repo-tool 8\n\n" + escapeUnderscores(markdown)))
	path := filepath.Join("..", "docs", "man", "repo-tool.8")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(want, got) {
		t.Errorf("%s is not what the program says (%v); run: go test ./repo-tool -run TestManPage -update", path, err)
	}
}

// manApp returns the command line with the descriptions of its commands, which
// cli leaves out of a page, where cli does not: after the usage.
func manApp() *cli.App {
	app := newApp(os.Stdout, os.Stderr)
	describe(app.Commands)
	return app
}

func describe(commands []*cli.Command) {
	for _, command := range commands {
		text, examples, _ := strings.Cut(command.Description, "\n\nExamples:")
		command.Usage = strings.ToUpper(command.Usage[:1]) + command.Usage[1:] + ".\n\n" + text
		command.UsageText = strings.TrimPrefix(examples, "\n") + "\n"
		describe(command.Subcommands)
	}
}

// escapeUnderscores keeps Markdown from reading REPO_TOOL_KEYS as emphasis.
// Blocks of code, indented or fenced, are taken as they are.
func escapeUnderscores(markdown string) string {
	lines := strings.Split(markdown, "\n")
	fenced := false
	for i, line := range lines {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if !fenced && !strings.HasPrefix(line, "    ") {
			lines[i] = strings.ReplaceAll(line, "_", `\_`)
		}
	}
	return strings.Join(lines, "\n")
}
