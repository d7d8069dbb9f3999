package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/internal/console"
	"tufboot/metadata/storage"
)

// TestWait holds the lock of a repository. Without --wait, and when its time is
// over, a command is refused; with it the command goes on once the lock is free.
func TestWait(t *testing.T) {
	dir := t.TempDir()
	repo, keys := "--repo="+filepath.Join(dir, "repo"), "--keys="+filepath.Join(dir, "keys")
	var out bytes.Buffer
	if code := runHere(t.Context(), t, &out, &out, "init", repo, keys, "--unsafe-plaintext-keys"); code != 0 {
		t.Fatal(out.String())
	}
	unlock, err := storage.NewFolder(filepath.Join(dir, "repo")).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range []string{"0s", "1ms"} {
		out.Reset()
		code := runHere(t.Context(), t, &out, &out, "refresh", "--all", repo, keys, "--wait="+wait)
		if code != console.ExitRefused || !strings.Contains(out.String(), "repository-locked") {
			t.Errorf("--wait=%s: exit code %d: %s", wait, code, out.String())
		}
	}
	freed := &onWord{word: "waits for another command", do: unlock}
	if code := runHere(t.Context(), t, freed, freed, "refresh", "--all", "--verbose", repo, keys, "--wait=1h"); code != 0 {
		t.Errorf("exit code %d: %s", code, freed.text.String())
	}
	if freed.do != nil {
		t.Error("it did not wait")
	}
}

// onWord is a writer that does something when a word is written first.
type onWord struct {
	word string
	do   func()
	text bytes.Buffer
}

func (w *onWord) Write(p []byte) (int, error) {
	w.text.Write(p)
	if w.do != nil && strings.Contains(w.text.String(), w.word) {
		w.do()
		w.do = nil
	}
	return len(p), nil
}
