package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tufboot/internal/console"
	"tufboot/metadata/client"
)

const fixtures = "../../testdata/tuf-repo"

// expectation is a fixture's expect.json.
type expectation struct {
	About   string    `json:"about"`
	Exit    int       `json:"exit"`
	Reason  string    `json:"reason"`
	At      string    `json:"at"`
	After   string    `json:"after"`
	Channel string    `json:"channel"`
	Arch    string    `json:"arch"`
	Now     time.Time `json:"now"`
	Release string    `json:"release"`
}

// steps are the values of "at", in order.
var steps = []string{"refresh", "resolve", "download"}

// update does all that an agent asks of the client, and returns the step that
// failed with its error.
func update(ctx context.Context, opts client.Options, want expectation) (release, step string, err error) {
	c, err := client.New(opts)
	if err != nil {
		return "", "new", err
	}
	if err := c.Refresh(ctx); err != nil {
		return "", "refresh", err
	}
	resolved, err := c.Resolve(ctx, want.Channel, want.Arch)
	if err != nil {
		return "", "resolve", err
	}
	for _, a := range resolved.Release.Artifacts() {
		if err := c.Download(ctx, a, nil, io.Discard, nil); err != nil {
			return resolved.Release.Version, "download", err
		}
	}
	return resolved.Release.Version, "", nil
}

func TestFixtures(t *testing.T) {
	scenarios, err := filepath.Glob(filepath.Join(fixtures, "*", "expect.json"))
	must(t, err)
	if len(scenarios) == 0 {
		t.Fatalf("no fixtures in %s: run \"make testdata\"", fixtures)
	}
	for _, path := range scenarios {
		dir, err := filepath.Abs(filepath.Dir(path))
		must(t, err)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			testFixture(t, dir, func(dir string) string { return "file://" + dir })
		})
		t.Run(filepath.Base(dir)+" over HTTP", func(t *testing.T) {
			testFixture(t, dir, func(dir string) string { return serve(t, &repo{dir: dir}).URL })
		})
	}
}

func testFixture(t *testing.T, dir string, address func(dir string) string) {
	data, err := os.ReadFile(filepath.Join(dir, "expect.json"))
	must(t, err)
	var want expectation
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	must(t, decoder.Decode(&want))
	root, err := os.ReadFile(filepath.Join(dir, "root.json"))
	must(t, err)
	opts := client.Options{
		Server: address(filepath.Join(dir, "repository")), Root: root, Dir: filepath.Join(t.TempDir(), "metadata"),
		Now: func() time.Time { return want.Now },
	}
	if want.After != "" {
		before := opts
		before.Server = address(filepath.Join(filepath.Dir(dir), want.After, "repository"))
		if _, step, err := update(t.Context(), before, want); err != nil {
			t.Fatalf("%s of %s, which comes before: %v", step, want.After, err)
		}
	}
	release, step, err := update(t.Context(), opts, want)
	if got := console.ExitCode(err); got != want.Exit {
		t.Errorf("%s: exit code %d, want %d: %v", step, got, want.Exit, err)
	}
	if err == nil {
		if release != want.Release {
			t.Errorf("release %s, want %s", release, want.Release)
		}
		return
	}
	wantReason(t, err, want.Reason)
	// Earlier than the fixture's author thought is as good: nothing is written yet.
	if slices.Index(steps, step) > slices.Index(steps, want.At) {
		t.Errorf("failed at %s, later than at %s", step, want.At)
	}
}
