package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReleasing runs the blocks of docs/releasing.md, one after the other, in a
// folder with a kernel, an initramfs and notes.
func TestReleasing(t *testing.T) {
	if testing.Short() {
		t.Skip("encrypted keys take their time; run without -short")
	}
	doc, err := os.ReadFile(filepath.Join("..", "docs", "releasing.md"))
	if err != nil {
		t.Fatal(err)
	}
	script, commands := "", 0
	for line := range strings.Lines(string(doc)) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			script += command
			commands++
		}
	}
	if commands < 20 {
		t.Fatalf("%d commands: the document is not read rightly", commands)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"vmlinuz": "kernel", "initrd.img": "initramfs", "notes.md": "Notes.",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-eux", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
