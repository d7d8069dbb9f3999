package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// debugfs returns 0 whatever its commands did, so its complaints are what
// tells of a failure.
func TestNormalizeNoticesFailure(t *testing.T) {
	dir := t.TempDir()
	tools, err := newToolbox(dir, time.Unix(1700000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := part{fsUUID: newIDs("x").uuid("fs")}
	p.Name, p.Size = "X", minExt4Size
	if err := makeExt4(t.Context(), tools, "fs", p, "tree", dataInodeRatio, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tree", "later"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err = normalize(t.Context(), tools, "fs", "tree", time.Unix(1, 0))
	if err == nil || !strings.Contains(err.Error(), "later") {
		t.Errorf("got %v, want a complaint about the file that is not there", err)
	}
}
