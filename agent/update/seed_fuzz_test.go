package update

import (
	"os"
	"path/filepath"
	"testing"

	"tufboot/metadata"
)

// FuzzRolloutSeed puts any bytes in the place of the node's seed: the node has a
// place in a rollout, and keeps it.
func FuzzRolloutSeed(f *testing.F) {
	for _, s := range []string{"", "\n", " \t\n", "00112233445566778899aabbccddeeff\n", "a\x00b", "\xff\xfe", "ä\u2028"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n := New(Options{StateDir: t.TempDir()})
		if err := os.WriteFile(filepath.Join(n.StateDir, seedFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		seed, err := n.seed()
		if err != nil || seed == "" {
			t.Fatalf("seed %q, %v", seed, err)
		}
		again, err := n.seed()
		if err != nil || again != seed {
			t.Errorf("seed %q, then %q, %v", seed, again, err)
		}
		if p := metadata.Position(seed, "1f3a"); p < 0 || p >= 1 {
			t.Errorf("place %v", p)
		}
	})
}
