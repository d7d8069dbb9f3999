package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var updateMan = flag.Bool("update", false, "write the man page instead of comparing it")

// TestManPage compares docs/man/agent.8 with what the commands say of
// themselves; `make docs` writes it.
func TestManPage(t *testing.T) {
	const path = "../docs/man/agent.8"
	app := newApp()
	app.Version = ""
	page, err := app.ToManWithSection(8)
	if err != nil {
		t.Fatal(err)
	}
	if *updateMan {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil || string(kept) != page {
		t.Errorf("%s is not what the commands say; run `make docs` (%v)", path, err)
	}
}

// TestHelpHasExamples keeps every command's help useful.
func TestHelpHasExamples(t *testing.T) {
	for _, c := range newApp().Commands {
		if !strings.Contains(c.Description, "Example") {
			t.Errorf("`agent %s --help` shows no example", c.Name)
		}
	}
}
