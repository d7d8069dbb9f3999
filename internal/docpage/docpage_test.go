package docpage

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	const marks = "# Page\n<!-- a -->\nold\n<!-- /a -->\nrest\n<!-- b -->\n"
	if err := os.WriteFile(page, []byte(marks), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(page, "a", "new\n"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c"} { // no end; no mark
		if err := Write(page, name, "x\n"); err == nil {
			t.Errorf("wrote %s", name)
		}
	}
	got, err := os.ReadFile(page)
	if want := "# Page\n<!-- a -->\nnew\n<!-- /a -->\nrest\n<!-- b -->\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}
