package repository

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tufboot/metadata/storage"
)

// putBackOlder publishes 1, 2 and 3, withdraws 3, and puts the timestamp of before
// the withdrawal back.
func putBackOlder(t *testing.T, r *Repository, keys Signers) {
	t.Helper()
	for _, version := range []string{"1", "2", "3"} {
		publish(t, r, keys, version)
	}
	path := filepath.Join(r.Place(), filepath.FromSlash(timestampFile))
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Withdraw(t.Context(), WithdrawOptions{Version: "3", Channel: "stable", Keys: keys}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(old))
}

// TestVerifyFindsOlder: to a new client an older state is as good as any.
func TestVerifyFindsOlder(t *testing.T) {
	r, keys := newRepo(t)
	putBackOlder(t, r, keys)
	_, err := Verify(t.Context(), storage.NewFolder(r.Place()), VerifyOptions{Options: at(start)})
	wantReason(t, err, "metadata-rollback")
	if hint := err.(*InvalidError).Hint(); !strings.Contains(hint, "restore timestamp.json of version 5") { //nolint:errorlint // not wrapped
		t.Error(hint)
	}
}

// TestRemember: whoever can write the folder puts an older state back and removes
// all that the repository knows of its past.
func TestRemember(t *testing.T) {
	r, keys := newRepo(t)
	memory := filepath.Join(t.TempDir(), "published.json")
	r.remember = []string{filepath.Join(t.TempDir(), "nowhere", "x"), memory}
	putBackOlder(t, r, keys)
	if err := os.RemoveAll(filepath.Join(r.Place(), storage.WorkDir)); err != nil {
		t.Fatal(err)
	}
	_, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true})
	wantReason(t, err, ReasonRegression)
	if !strings.Contains(err.(*RefusedError).Hint(), memory) { //nolint:errorlint // not wrapped
		t.Error(err)
	}
	// The way out; and then it is remembered anew, also when nothing changes.
	for _, content := range []string{"", "garbage"} {
		if err := os.Remove(memory); err != nil {
			t.Fatal(err)
		}
		if content != "" {
			writeFile(t, memory, content)
		}
		if _, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: content == ""}); err != nil {
			t.Fatal(err)
		}
		st, err := load(t.Context(), r.store)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := readRemembered(memory); err != nil || m != st.marker() {
			t.Errorf("%+v, %v", m, err)
		}
	}
}

// TestUnnamedSnapshot: where nothing is remembered, what was published since is
// still there, and is a warning.
func TestUnnamedSnapshot(t *testing.T) {
	r, keys := newRepo(t)
	putBackOlder(t, r, keys)
	if err := os.RemoveAll(filepath.Join(r.Place(), storage.WorkDir)); err != nil {
		t.Fatal(err)
	}
	if got := warnings(t, r.Place()); !slices.Contains(got, WarnUnnamed+" snapshot") {
		t.Errorf("got %q", got)
	}
	var log bytes.Buffer
	r.logger = slog.New(slog.NewTextHandler(&log, nil))
	publish(t, r, keys, "4")
	if !strings.Contains(log.String(), "an older timestamp.json was put back") || !strings.Contains(log.String(), "5.snapshot.json") {
		t.Errorf("logged %q", log.String())
	}
	// From here on it is known what was published last.
	log.Reset()
	publish(t, r, keys, "5")
	if got := warnings(t, r.Place()); slices.Contains(got, WarnUnnamed+" snapshot") || strings.Contains(log.String(), "put back") {
		t.Errorf("got %q, logged %q", got, log.String())
	}
}
