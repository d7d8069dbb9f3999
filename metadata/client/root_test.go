package client_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/internal/console"
	"tufboot/metadata/client"
)

// rotated is a repository with roots 1 to 3 and online keys that each replaced,
// and the options of a client that has kept them.
func rotated(t *testing.T, name string) (*repo, client.Options) {
	t.Helper()
	r := newRepo(t, name)
	r.rotate(tuf.ROOT, "root2")
	r.rotate(tuf.TIMESTAMP, "timestamp2")
	r.publish()
	opts := options(t, r, fileURL(r))
	must(t, refresh(t, opts))
	return r, opts
}

// A new release may bring a newer root than is kept, and a release before it,
// after a rollback, an older one again.
func TestBuiltInRootChanges(t *testing.T) {
	r, opts := rotated(t, "repo")
	r.rotate(tuf.ROOT, "root4")
	r.rotate(tuf.SNAPSHOT, "snapshot5")
	r.publish()
	for _, version := range []int{4, 5, 3, 2, 1, 5} {
		opts.Root = r.roots[version-1]
		must(t, refresh(t, opts))
		trust, err := client.LocalTrust(opts)
		must(t, err)
		if trust.Root.Version != 5 || trust.BuiltInRoot != int64(version) {
			t.Errorf("root %d from built-in %d, want 5 from %d", trust.Root.Version, trust.BuiltInRoot, version)
		}
	}
}

// A server that hides the newest roots cannot take a node back to older keys.
func TestNewestRootIsNotLost(t *testing.T) {
	r, opts := rotated(t, "repo")
	for _, name := range []string{"2.root.json", "3.root.json"} {
		must(t, os.Remove(r.metadata(name)))
	}
	r.keys[tuf.TIMESTAMP] = []key{newKey(t, "repo"+tuf.TIMESTAMP)} // the one before
	r.publishTimestamp()
	wantReason(t, refresh(t, opts), client.ReasonBadSignature)
	r.keys[tuf.TIMESTAMP] = []key{newKey(t, "repotimestamp2")}
	r.publishTimestamp()
	must(t, refresh(t, opts))
}

// The built-in root fills a gap in the kept chain, for a release before it.
func TestBuiltInRootIsKept(t *testing.T) {
	r := newRepo(t, "repo")
	r.rotate(tuf.ROOT, "root2")
	r.publish()
	opts := options(t, r, fileURL(r))
	opts.Root = r.roots[1]
	must(t, refresh(t, opts))
	must(t, os.Remove(r.metadata("2.root.json")))
	opts.Root = r.roots[0]
	must(t, refresh(t, opts))
	trust, err := client.LocalTrust(opts)
	must(t, err)
	if trust.Root.Version != 2 {
		t.Errorf("root %d, want 2", trust.Root.Version)
	}
}

// Whoever can write the folder gains nothing: a whole other chain in it, with a
// server that goes with it, is not accepted.
func TestKeptChainOfAnotherRepository(t *testing.T) {
	evil, evilOpts := rotated(t, "evil")
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(evil))
	restore(t, opts.Dir, folder(t, evilOpts.Dir))
	wantReason(t, refresh(t, opts), client.ReasonWrongRoot)

	// The right server is accepted over the same folder.
	restore(t, opts.Dir, folder(t, evilOpts.Dir))
	opts.Server = fileURL(r)
	must(t, refresh(t, opts))
	r.rotate(tuf.ROOT, "root2")
	r.publish()
	must(t, refresh(t, opts))
}

// One forged step in an otherwise good chain.
func TestForgedKeptRoot(t *testing.T) {
	r, opts := rotated(t, "repo")
	r.version[tuf.ROOT] = 3
	r.keys[tuf.ROOT] = []key{newKey(t, "thief")}
	r.keys[tuf.TIMESTAMP] = []key{newKey(t, "thief2")}
	r.signRoot()
	forged := r.read("4.root.json")
	must(t, os.Remove(r.metadata("4.root.json")))
	must(t, os.WriteFile(filepath.Join(opts.Dir, "4.root.json"), forged, 0o600))
	r.publishTimestamp()
	wantReason(t, refresh(t, opts), client.ReasonWrongRoot)
	if _, err := os.Stat(filepath.Join(opts.Dir, "4.root.json")); err == nil {
		t.Error("the forged root is still there")
	}
}

func TestNewRefuses(t *testing.T) {
	r := newRepo(t, "repo")
	good := options(t, r, fileURL(r))
	tests := map[string]func(*client.Options){
		"no folder":         func(o *client.Options) { o.Dir = "" },
		"no root":           func(o *client.Options) { o.Root = nil },
		"root is garbage":   func(o *client.Options) { o.Root = []byte("garbage") },
		"root is null":      func(o *client.Options) { o.Root = []byte(`{"signed":{"_type":"root","roles":{"root":null}}}`) },
		"root is another":   func(o *client.Options) { o.Root = r.read("timestamp.json") },
		"no server":         func(o *client.Options) { o.Server = "" },
		"ftp":               func(o *client.Options) { o.Server = "ftp://host/" },
		"no host":           func(o *client.Options) { o.Server = "http://" },
		"a query":           func(o *client.Options) { o.Server = "http://host/?a=b" },
		"a relative file":   func(o *client.Options) { o.Server = "file://folder/sub" },
		"no address":        func(o *client.Options) { o.Server = "http://[::1" },
		"an opaque one":     func(o *client.Options) { o.Server = "http:host" },
		"misspelt scheme":   func(o *client.Options) { o.Server = "htps://bob:s3cret@host/" },
		"a bad port":        func(o *client.Options) { o.Server = "http://bob:s3cret@host:port/" },
		"a bad escape":      func(o *client.Options) { o.Server = "http://bob:s3cret@host/%zz" },
		"no host, a user":   func(o *client.Options) { o.Server = "http://bob:s3cret@/" },
		"a name, no scheme": func(o *client.Options) { o.Server = "host.example/repo" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			opts := good
			change(&opts)
			_, err := client.New(opts)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
	_, err := client.New(client.Options{Dir: "x", Root: []byte("garbage"), Server: "http://host"})
	if console.ExitCode(err) != console.ExitVerification {
		t.Errorf("exit code %d for a useless root", console.ExitCode(err))
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("New made the folder")
	}
}
