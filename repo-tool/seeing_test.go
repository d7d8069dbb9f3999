package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/internal/console"
)

// TestSeeFixtures lets every command that shows something look at every fixture,
// as a folder and through a web server. They may fail with a code that says so,
// and must not panic; a web server must make no difference.
func TestSeeFixtures(t *testing.T) {
	repos, err := filepath.Glob("../testdata/tuf-repo/*/repository")
	if err != nil || len(repos) < 20 {
		t.Fatal(len(repos), err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir("../testdata/tuf-repo")))
	defer server.Close()
	for _, repo := range repos {
		name := filepath.Base(filepath.Dir(repo))
		for _, args := range [][]string{
			{"status"}, {"status", "--json"}, {"status", "--prometheus"}, {"verify"}, {"verify", "--json", "--metadata-only"},
			{"verify", "--at", "2050-01-01"}, {"explain", "--channel", "stable"}, {"explain", "releases/1.0.0/amd64/vmlinuz"},
			{"explain", "none", "--json"}, {"diff", "../testdata/tuf-repo/valid/repository"},
		} {
			codes := make(map[string]int)
			for _, place := range []string{repo, server.URL + "/" + name + "/repository"} {
				var stdout, stderr bytes.Buffer
				all := append(append([]string{}, args...), "--repo", place)
				if args[0] == "diff" {
					all = append(append([]string{}, args...), place)
				}
				code := runHere(t.Context(), t, &stdout, &stderr, all...)
				codes[place] = code
				switch code {
				case console.ExitDone, console.ExitFailed, console.ExitRefused, console.ExitVerification:
				default:
					t.Errorf("%s: %q exits with %d: %s", name, args, code, stderr.String())
				}
				if strings.Contains(stderr.String(), "repository.invalid") {
					t.Errorf("%s: %q names an address that there is none: %s", name, args, stderr.String())
				}
			}
			if codes[repo] != codes[server.URL+"/"+name+"/repository"] {
				t.Errorf("%s: %q: %v", name, args, codes)
			}
		}
	}
}
