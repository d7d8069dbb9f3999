//go:build !urfave_cli_no_docs

package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files and the man page again")

// TestManPage compares docs/man/repo-tool.8 with what the command line says.
func TestManPage(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "0")
	app := newApp(os.Stdout, os.Stderr)
	app.Version = "" // the page holds for every version
	got, err := app.ToManWithSection(8)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "docs", "man", "repo-tool.8")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%s is not what the program says (%v); run: go test ./repo-tool -run TestManPage -update", path, err)
	}
}
