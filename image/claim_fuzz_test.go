package image

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzClaim puts any bytes in the place of the mark of an unfinished slot: what was
// written for another release is never taken for this one's, and the slot can be
// claimed.
func FuzzClaim(f *testing.F) {
	const id = "1f3a0b0c7de0f3f2a0a54be6a5b9d2fb3cb1ff2bd4c4e3f0f5a6b7c8d9e0f1a2"
	for _, s := range []string{"", id, id + "\n", id[:63], id + id, "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		for name, content := range map[string][]byte{claimFile: data, "vmlinuz": []byte("of somebody"), "initramfs" + Unverified: nil} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		w := &Writer{root: root}
		defer w.close()
		resumed, err := w.Claim(id)
		if err != nil || resumed != (string(data) == id) || !w.claimed(id) {
			t.Fatalf("resumed %v, claimed %v, %v", resumed, w.claimed(id), err)
		}
		entries, err := os.ReadDir(dir)
		if want := map[bool]int{true: 3, false: 1}[resumed]; err != nil || len(entries) != want {
			t.Errorf("%d files are left, %v", len(entries), err)
		}
	})
}
