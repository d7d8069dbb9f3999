package initramfs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPermissions: who may read an initramfs may read what was made of it, and nobody
// else; an output that is there keeps its own.
func TestPermissions(t *testing.T) {
	for name, test := range map[string]struct{ input, output, want os.FileMode }{
		"new":      {0o600, 0, 0o600},
		"readable": {0o644, 0, 0o644},
		"existing": {0o644, 0o640, 0o640},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			input, output := filepath.Join(dir, "in"), filepath.Join(dir, "out")
			write := func(path string, perm os.FileMode) {
				t.Helper()
				if err := os.WriteFile(path, archive(file{name: "a", data: "b"}), perm); err != nil {
					t.Fatal(err)
				}
			}
			if write(input, test.input); test.output != 0 {
				write(output, test.output)
			}
			if _, err := Repack(t.Context(), input, output, Options{}); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(output); err != nil || info.Mode().Perm() != test.want {
				t.Errorf("%v, %v, want %v", info.Mode(), err, test.want)
			}
		})
	}
}

// TestNothingIsLeft looks into the folder while an output is made: who is killed then
// leaves nothing.
func TestNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	input := filepath.Join(dir, "in")
	if err := os.WriteFile(input, archive(file{name: "a", data: strings.Repeat("b", 1<<20)}), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Repack(t.Context(), input, filepath.Join(dir, "out"), Options{Progress: func(step string, done, total int64) {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("%s, at %d of %d: the folder holds %v, %v", step, done, total, entries, err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
}
