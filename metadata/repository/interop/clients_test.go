package interop

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/metadata/repository"
)

// client is a TUF client that we did not write.
type client struct {
	name string
	// bins says that it reads succinct hash bins (TAP 15).
	bins bool
	// read trusts the root file and reads the targets of the repository at base,
	// the address that metadata/ and targets/ lie below. It returns their bytes.
	read func(t *testing.T, base, root string, targets []string) (map[string]string, error)
}

// allClients installs the clients. They are the programs of their authors, but
// for tuf-js, which is a library.
func allClients(t *testing.T) []client {
	t.Helper()
	if testing.Short() {
		t.Skip("npm and go fetch other people's programs; run without -short")
	}
	js := installJS(t)
	goTUF := buildTool(t, "github.com/theupdateframework/go-tuf/v2/examples/cli/tuf-client")
	goTUF07 := buildTool(t, "github.com/theupdateframework/go-tuf/cmd/tuf-client")
	return []client{
		{"go-tuf v2", true, goTUF.readV2},
		{"tuf-js", true, js.read},
		// The first generation of go-tuf knows other hash bins only.
		{"go-tuf v0.7", false, goTUF07.readV07},
	}
}

// program is somebody else's program, and the folder it is run in.
type program struct{ path, dir string }

// buildTool builds a tool that clients/go.mod names, at the version it names.
func buildTool(t *testing.T, pkg string) program {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "tool"), pkg)
	cmd.Dir = "clients"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s (needs the Go module proxy or Go's cache): %v\n%s", pkg, err, out)
	}
	return program{filepath.Join(dir, "tool"), dir}
}

// run runs a program and returns what it prints. Errors hold what it complains of.
func (p program) run(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.path, args...)
	cmd.Dir = dir
	// A proxy has no business between two programs on this machine.
	cmd.Env = append(os.Environ(), "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", &exitError{err, stdout.String() + stderr.String()}
	}
	return stdout.String(), nil
}

// exitError is a program's failure with what it said.
type exitError struct {
	err    error
	output string
}

func (e *exitError) Error() string { return e.err.Error() + ": " + strings.TrimSpace(e.output) }

// readV2 runs the command line of go-tuf v2: refresh, GetTargetInfo and
// DownloadTarget of its updater.
func (p program) readV2(t *testing.T, base, root string, targets []string) (map[string]string, error) {
	t.Helper()
	work := t.TempDir()
	copyFile(t, root, filepath.Join(work, "root.json"))
	if _, err := p.run(t, work, "init", "-u", base+"/metadata", "-f", "root.json"); err != nil {
		return nil, err
	}
	for _, name := range targets {
		if _, err := p.run(t, work, "get", "-u", base+"/metadata", "-t", base+"/targets", name); err != nil {
			return nil, err
		}
	}
	return contents(t, filepath.Join(work, "tuf_download"), targets), nil
}

// readV07 runs the command line of go-tuf v0.7, which wants the metadata beside
// targets/ rather than in a folder of its own.
func (p program) readV07(t *testing.T, base, root string, targets []string) (map[string]string, error) {
	t.Helper()
	work := t.TempDir()
	flat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/targets/") {
			r.URL.Path = "/metadata" + r.URL.Path
		}
		http.Redirect(w, r, base+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer flat.Close()
	if _, err := p.run(t, work, "init", "-s", "store", flat.URL, root); err != nil {
		return nil, err
	}
	got := make(map[string]string)
	for _, name := range targets {
		out, err := p.run(t, work, "get", "-s", "store", flat.URL, name)
		if err != nil {
			return nil, err
		}
		got[name] = out
	}
	return got, nil
}

// tufJS is the installed library and the script that uses it.
type tufJS struct{ program }

// installJS installs the locked versions into a temporary folder.
func installJS(t *testing.T) tufJS {
	t.Helper()
	const advice = "install the Debian packages: apt install nodejs npm"
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Fatalf("%v; %s", err, advice)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("%v; %s", err, advice)
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "read.js", "write.js"} {
		copyFile(t, name, filepath.Join(dir, name))
	}
	cmd := exec.CommandContext(t.Context(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci (needs the npm registry or npm's cache): %v\n%s", err, out)
	}
	return tufJS{program{node, dir}}
}

func (js tufJS) read(t *testing.T, base, root string, targets []string) (map[string]string, error) {
	t.Helper()
	work := t.TempDir()
	if _, err := js.run(t, js.dir, append([]string{"read.js", base + "/", root, work}, targets...)...); err != nil {
		return nil, err
	}
	return contents(t, work, targets), nil
}

// contents reads what a client has put into a folder.
func contents(t *testing.T, dir string, targets []string) map[string]string {
	t.Helper()
	got := make(map[string]string)
	for _, name := range targets {
		data, err := os.ReadFile(filepath.Join(dir, url.QueryEscape(name)))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(data)
	}
	return got
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// serve hands a repository out as repo-tool serve does.
func serve(t *testing.T, dir string) string {
	t.Helper()
	handler, err := repository.NewHandler(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(handler.Close)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}
