package image

import (
	"os"
	"path/filepath"
	"testing"
)

// Through the page cache, a unit counts as being on the device only when the
// kernel was waited for, and that is done one unit later.
func TestStorerIsOneUnitBehind(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	d := newDirectStorer(f, 0)
	d.direct = false
	for at := int64(0); at < 4*streamUnit; at += streamUnit {
		got, err := d.store(make([]byte, streamUnit), at)
		if err != nil || got != at {
			t.Errorf("after the unit at %d, %d bytes are on the device (%v)", at, got, err)
		}
	}
	if err := d.finish(); err != nil {
		t.Error(err)
	}
}
