package repository

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/storage"
)

const fixtures = "../../testdata/tuf-repo"

// TestVerifyFixtures verifies every fixture. Only those that need a memory of
// an earlier state to be seen through can pass among the bad ones.
func TestVerifyFixtures(t *testing.T) {
	scenarios, err := filepath.Glob(fixtures + "/*/expect.json")
	if err != nil || len(scenarios) < 20 {
		t.Fatalf("fixtures: %d, %v", len(scenarios), err)
	}
	for _, path := range scenarios {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			var expect struct {
				Exit  int
				After string
				Now   time.Time
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &expect); err != nil {
				t.Fatal(err)
			}
			root, err := os.ReadFile(filepath.Join(dir, "root.json"))
			if err != nil {
				t.Fatal(err)
			}
			repo := filepath.Join(dir, "repository")
			_, err = Verify(t.Context(), storage.NewFolder(repo), VerifyOptions{Options: at(expect.Now), Root: root})
			if want := expect.Exit == 0 || expect.After != ""; (err == nil) != want {
				t.Errorf("Verify: %v", err)
			}
			// Building on a spoiled repository may fail, and must not panic.
			if r, err := Open(t.Context(), storage.NewFolder(repo), at(expect.Now)); err == nil {
				_, _ = r.Status(t.Context())
				_, _ = r.List(t.Context())
			}
		})
	}
}

func TestVerifyCounts(t *testing.T) {
	v, err := Verify(t.Context(), storage.NewFolder(fixtures+"/valid-newer/repository"), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v.Releases != 2 || v.Targets != 7 || v.RootVersion != 1 || strings.Join(v.Channels, ",") != "stable" {
		t.Errorf("got %+v", v)
	}
	_, err = Verify(t.Context(), storage.NewFolder(t.TempDir()), VerifyOptions{})
	wantReason(t, err, ReasonNotRepository)
	_, err = Verify(t.Context(), storage.NewFolder(fixtures+"/expired-timestamp/repository"), VerifyOptions{})
	wantReason(t, err, "metadata-expired")
}

func TestVerifyMetadataOnly(t *testing.T) {
	opts := VerifyOptions{MetadataOnly: true}
	for name, right := range map[string]bool{"valid-newer": true, "bad-hash": true, "missing-target": true, "bad-hash-manifest": false, "manifest-mismatch": false} {
		v, err := Verify(t.Context(), storage.NewFolder(filepath.Join(fixtures, name, "repository")), opts)
		if (err == nil) != right {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (v.Bytes != 0 || v.Targets < 4 || v.Releases < 1) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestOpenRefusals(t *testing.T) {
	_, err := Open(t.Context(), storage.NewFolder(t.TempDir()), Options{})
	wantReason(t, err, ReasonNotRepository)
	for _, name := range []string{"bad-signature", "truncated-timestamp", "missing-snapshot", "mix-and-match", "null-entry-targets", "null-entry-timestamp"} {
		r, err := Open(t.Context(), storage.NewFolder(filepath.Join(fixtures, name, "repository")), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = r.Status(t.Context()); err == nil {
			t.Errorf("%s: opened", name)
			continue
		}
		wantReason(t, err, ReasonBadRepository)
	}
}

// FuzzParse feeds the decoder of metadata files: it may fail, not panic.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"1.root.json", "2.targets.json", "2.snapshot.json", "timestamp.json"} {
		data, err := os.ReadFile(filepath.Join(fixtures, "valid/repository/metadata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"signed":{"_type":"targets","targets":{"x":null}},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = parse[tuf.RootType](data)
		_, _ = parse[tuf.TargetsType](data)
		_, _ = parse[tuf.SnapshotType](data)
		_, _ = parse[tuf.TimestampType](data)
	})
}
