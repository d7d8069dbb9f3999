package repository

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tufboot/internal/console"
	"tufboot/metadata/client"
	"tufboot/metadata/storage"
)

// attack is a row of the table of attacks and mistakes: what somebody does, and
// the answer. Readers see nothing of it: whatever was published before stays as
// it was, byte for byte, and a node that has read it still gets it.
type attack struct {
	name   string
	do     func(s *scene) error
	exit   int    // the exit code: 0 done, 1 failed, 2 wrong usage, 3 refused, 4 verification failed
	reason string // the reason code; "error" if it has none
	says   string // a part of the message or the advice
	// spoils says that the attacker has changed files before the command ran, so
	// that a node may fail, but not read anything else.
	spoils bool
}

// TestAttacks is the table. The answers of the stores themselves are in
// attackstore_test.go: there each row is a row of operations that fail.
func TestAttacks(t *testing.T) {
	template := newTemplate(t)
	for _, rows := range []struct {
		group string
		rows  []attack
	}{
		{"names", nameAttacks()},
		{"keys", keyAttacks()},
		{"mistakes", mistakes()},
		{"folder", folderAttacks()},
		{"replay", replayAttacks()},
	} {
		for _, row := range rows.rows {
			t.Run(rows.group+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				s := template.scene(t)
				wantAnswer(t, row, row.do(s))
				s.wantUnchanged()
				s.wantNode(row.spoils)
			})
		}
	}
}

func wantAnswer(t *testing.T, row attack, err error) {
	t.Helper()
	text := fmt.Sprintf("%v; %s", err, console.Hint(err))
	if got := console.ExitCode(err); got != row.exit {
		t.Errorf("exit code %d, want %d: %s", got, row.exit, text)
	}
	if got := console.ReasonCode(err); err != nil && got != row.reason {
		t.Errorf("reason %q, want %q: %s", got, row.reason, text)
	}
	if !strings.Contains(text, row.says) {
		t.Errorf("it says %q, want %q in it", text, row.says)
	}
}

// template is what every scene is a copy of: a repository with release 1.0 in
// the channel stable, and the same one later, with every role signed anew and
// release 2.0. A node has read both.
type template struct {
	older, newer, keys, node string
	root                     []byte // that the node is built with
}

func newTemplate(t *testing.T) *template {
	t.Helper()
	tmp := &template{older: t.TempDir(), newer: t.TempDir(), node: t.TempDir()}
	roles, keys, keysDir := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 2, RootThreshold: 2})
	tmp.keys = keysDir
	r, err := Create(t.Context(), storage.NewFolder(tmp.newer), CreateOptions{Options: at(start), Roles: roles, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if tmp.root, err = os.ReadFile(filepath.Join(tmp.newer, "metadata", "1.root.json")); err != nil {
		t.Fatal(err)
	}
	publish(t, r, keys, "1.0")
	copyTree(t, tmp.newer, tmp.older)
	nodeFor(t, tmp.newer, tmp.root, tmp.node, start).mustSee("1.0")
	if _, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true}); err != nil {
		t.Fatal(err)
	}
	publish(t, r, keys, "2.0")
	nodeFor(t, tmp.newer, tmp.root, tmp.node, start).mustSee("2.0")
	return tmp
}

// scene is where one attack happens.
type scene struct {
	*testing.T
	dir, older, keysDir, node string
	root                      []byte
	keys                      *KeyDir
	before                    map[string]string // the files when the command starts
}

func (tmp *template) scene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, dir: filepath.Join(t.TempDir(), "repo"), older: tmp.older, root: tmp.root, keysDir: t.TempDir(), node: t.TempDir()}
	copyTree(t, tmp.newer, s.dir)
	copyTree(t, tmp.keys, s.keysDir)
	copyTree(t, tmp.node, s.node)
	s.ready()
	return s
}

// ready is called when an attacker is done and the command is about to run.
func (s *scene) ready() {
	s.Helper()
	keys, err := OpenKeys([]string{s.keysDir}, nil)
	if err != nil {
		s.Fatal(err)
	}
	s.keys, s.before = keys, contentOf(s.T, s.dir)
}

// repo opens the repository.
func (s *scene) repo() *Repository { return s.repoAt(start) }

func (s *scene) repoAt(now time.Time) *Repository {
	return newRepository(storage.NewFolder(s.dir), at(now))
}

// publish publishes release 3.0.
func (s *scene) publish() error { return s.publishAt(start, "3.0", "3.0") }

func (s *scene) publishAt(now time.Time, version, content string) error {
	return s.publishing(now, version, content)()
}

// publishing is publishAt to be done later.
func (s *scene) publishing(now time.Time, version, content string) func() error {
	opts := release(s.T, s.keys, version, content)
	return func() error {
		_, err := s.repoAt(now).Publish(s.Context(), opts)
		return err
	}
}

// verify reads the repository as a client that is new.
func (s *scene) verify() error {
	_, err := Verify(s.Context(), storage.NewFolder(s.dir), VerifyOptions{Options: at(start)})
	return err
}

// file finds the one file that the pattern matches.
func (s *scene) file(pattern string) string {
	s.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, pattern))
	if err != nil || len(found) != 1 {
		s.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

// wantUnchanged checks that no file that was there has changed, and that what
// is new is nothing that readers ask for yet.
func (s *scene) wantUnchanged() {
	s.Helper()
	after := contentOf(s.T, s.dir)
	for name, content := range s.before {
		if strings.HasPrefix(name, storage.WorkDir) {
			continue
		}
		if got, ok := after[name]; !ok || got != content {
			s.Errorf("%s was changed", name)
		}
		delete(after, name)
	}
	for name := range after {
		if name == timestampFile || strings.HasSuffix(name, "."+Root+".json") {
			s.Errorf("%s was made", name)
		}
	}
}

// wantNode checks what a node reads that has read 2.0 before.
func (s *scene) wantNode(mayFail bool) {
	s.Helper()
	got, err := nodeFor(s.T, s.dir, s.root, s.node, start).see()
	if err != nil && !mayFail {
		s.Errorf("a node fails: %v", err)
	}
	if err == nil && got != "2.0" {
		s.Errorf("a node reads %s, want 2.0", got)
	}
}

// nodeClient is the client of the agent, with what it remembers.
type nodeClient struct {
	t      *testing.T
	client *client.Client
}

func nodeFor(t *testing.T, dir string, root []byte, memory string, now time.Time) *nodeClient {
	t.Helper()
	c, err := client.New(client.Options{Server: "file://" + dir, Root: root, Dir: memory, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return &nodeClient{t, c}
}

// see refreshes and returns the version that stable points to.
func (n *nodeClient) see() (string, error) {
	if err := n.client.Refresh(n.t.Context()); err != nil {
		return "", err
	}
	got, err := n.client.Resolve(n.t.Context(), "stable", "amd64")
	if err != nil {
		return "", err
	}
	return got.Release.Version, nil
}

func (n *nodeClient) mustSee(want string) {
	n.t.Helper()
	if got, err := n.see(); err != nil || got != want {
		n.t.Fatalf("a node reads %q, %v, want %s", got, err, want)
	}
}

// contentOf returns every regular file below dir by its name; links by where
// they lead.
func contentOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if entry.Type()&os.ModeSymlink != 0 {
			files[name], err = os.Readlink(path)
			return err
		}
		data, err := os.ReadFile(path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// overwrite changes a file as an attacker does who does not care for rules.
func (s *scene) overwrite(path string, data []byte) {
	s.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		s.Fatal(err)
	}
}

// restore puts a file of the older repository to a name in the newer one.
func (s *scene) restore(from, to string) {
	s.Helper()
	data, err := os.ReadFile(filepath.Join(s.older, from))
	if err != nil {
		s.Fatal(err)
	}
	s.overwrite(filepath.Join(s.dir, to), data)
}
