package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const fixtures = "../../../testdata/tuf-repo"

// files lists a folder's files, without folders.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && filepath.Ext(e.Name()) == ".json" {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestCommands goes through the suite's three commands as the suite would.
func TestCommands(t *testing.T) {
	fixture := filepath.Join(fixtures, "expired-timestamp")
	s := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(fixture, "repository"))))
	t.Cleanup(s.Close)
	trusted, targets := t.TempDir(), t.TempDir()
	command := func(args ...string) error {
		return run(t.Context(), append([]string{"--metadata-dir", trusted}, args...))
	}
	if err := command("init", filepath.Join(fixture, "root.json")); err != nil {
		t.Fatal(err)
	}
	if got, want := files(t, trusted), []string{"root.json"}; !slices.Equal(got, want) {
		t.Errorf("after init there is %q, want %q", got, want)
	}
	if command("--metadata-url", s.URL+"/metadata/", "refresh") == nil {
		t.Error("an expired timestamp was accepted")
	}
	if got, want := files(t, trusted), []string{"root.json"}; !slices.Equal(got, want) {
		t.Errorf("after a refresh that failed there is %q, want %q", got, want)
	}
	err := command("--metadata-url", s.URL+"/metadata/", "--target-base-url", s.URL+"/targets/",
		"--target-dir", targets, "--target-name", "channels/stable.json", "download")
	if got := files(t, targets); err == nil || len(got) > 0 {
		t.Errorf("%q was downloaded, %v", got, err)
	}
	if command("--metadata-url", s.URL+"/elsewhere/", "refresh") == nil || command("other") == nil {
		t.Error("a wrong command line was accepted")
	}
}
