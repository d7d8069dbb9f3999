package repository

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tufboot/metadata/storage"
)

// TestStrayRoot: a root above the row waits for the next change of keys.
func TestStrayRoot(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	if got := warnings(t, r.Place()); slices.Contains(got, WarnStrayRoot) {
		t.Errorf("got %q", got)
	}
	root, err := os.ReadFile(filepath.Join(r.Place(), "metadata", "1.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.Place(), "metadata", "3.root.json"), string(root))
	if got := warnings(t, r.Place()); !slices.Contains(got, WarnStrayRoot) {
		t.Errorf("got %q", got)
	}
	_, err = Verify(t.Context(), r.store, VerifyOptions{Options: at(start)})
	wantReason(t, err, ReasonBadRepository)
	// Clients that refuse what is about to be published do so for that.
	r.rehearse = func(context.Context, []storage.Reader, []Past) error { return errors.New("refused") }
	_, err = r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true})
	wantReason(t, err, ReasonRegression)
	if hint := err.(*RefusedError).Hint(); !strings.Contains(hint, "remove metadata/3.root.json") { //nolint:errorlint // not wrapped
		t.Error(hint)
	}
}

// TestSpoiledHistory: past states that cannot be read stop nobody, and are not passed
// over in silence: what clients hold that were there is not tried.
func TestSpoiledHistory(t *testing.T) {
	for what, content := range map[string]string{"garbage": "x", "huge": strings.Repeat(" ", 4*maxTimestamp+1)} {
		r, keys := newRepo(t)
		publish(t, r, keys, "1")
		var log bytes.Buffer
		r.logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		r.rehearse = func(context.Context, []storage.Reader, []Past) error { return nil }
		publish(t, r, keys, "2")
		if log.Len() > 0 {
			t.Error(log.String())
		}
		for _, version := range []int64{1, 2} {
			writeFile(t, filepath.Join(r.Place(), historyFile(version)), content)
		}
		publish(t, r, keys, "3")
		if got := log.String(); !strings.Contains(got, "past states cannot be read") || !strings.Contains(got, "files=2") {
			t.Errorf("%s: logged %q", what, got)
		}
	}
}
