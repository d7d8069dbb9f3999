package repository

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tufboot/metadata/storage"
)

// TestIrregularMetadata: whoever can write the folder puts a pipe, a folder or a
// huge file where metadata was. No command waits for the pipe, and each says that
// the repository is what is wrong.
func TestIrregularMetadata(t *testing.T) {
	plant := map[string]func(path string) error{
		"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"huge":   func(path string) error { return os.WriteFile(path, make([]byte, maxMetadata+1), 0o600) },
	}
	for _, name := range []string{timestampFile, versionedFile(Snapshot, 2), versionedFile(Targets, 1), versionedFile(Root, 1)} {
		for what, plant := range plant {
			r, keys := newRepo(t)
			publish(t, r, keys, "1")
			path := filepath.Join(r.Place(), filepath.FromSlash(name))
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
			_, status := r.Status(t.Context())
			_, publish := r.Publish(t.Context(), release(t, keys, "2", "2"))
			_, verify := Verify(t.Context(), storage.NewFolder(r.Place()), VerifyOptions{Options: at(start)})
			_, mirror := Mirror(t.Context(), storage.NewFolder(r.Place()), storage.NewFolder(t.TempDir()), MirrorOptions{Options: at(start)})
			for _, err := range []error{status, publish, verify, mirror} {
				t.Logf("%s as %s: %v", name, what, err)
				wantReason(t, err, ReasonBadRepository)
			}
		}
	}
}

// TestKeyIsPipe: a key that is a pipe is not waited for.
func TestKeyIsPipe(t *testing.T) {
	for _, suffix := range []string{privateSuffix, publicSuffix} {
		_, _, dir := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
		path := filepath.Join(dir, "snapshot"+suffix)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := OpenKeys([]string{dir}, nil)
		for _, file := range keysIn(keys) {
			if file.Path == path {
				_, err = keys.Signer(t.Context(), file.ID)
			}
		}
		if err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", suffix, err)
		}
	}
}

func keysIn(k *KeyDir) []KeyFile {
	if k == nil {
		return nil
	}
	return k.Files()
}
