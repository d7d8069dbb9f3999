package repository_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tufboot/internal/console"
	"tufboot/metadata/client"
	"tufboot/metadata/rehearsal"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// today is when everything happens, but for clocks that are wrong.
var today = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// TestClocksAndCopies are the attacks and mistakes that only a client with a
// memory sees through: every command of repo-tool tries what it is about to
// publish with such clients (package rehearsal).
func TestClocksAndCopies(t *testing.T) {
	for _, row := range []struct {
		name   string
		do     func(s *shop) error
		exit   int
		reason string
		node   string // what a node reads afterwards that has read 2.0; or the reason why it does not
	}{
		{"a publisher's clock in the past", func(s *shop) error { return s.publish("3.0", today.AddDate(-5, 0, 0)) },
			3, repository.ReasonRegression, "2.0"},
		{"a publisher's clock a month behind", func(s *shop) error { return s.publish("3.0", today.AddDate(0, -1, 0)) },
			3, repository.ReasonRegression, "2.0"},
		// It cannot be told from a publisher who comes back after years. Nodes
		// judge by their own clocks and take it, and whoever notices publishes again.
		{"a publisher's clock in 2099", func(s *shop) error { return s.publish("3.0", time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)) },
			0, "", "3.0"},
		{"a clock in 2099, and then the right one", func(s *shop) error {
			if err := s.publish("3.0", time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
				return err
			}
			return s.publish("4.0", today)
		}, 0, "", "4.0"},
		{"an older copy of the metadata is restored, and published to", func(s *shop) error {
			s.restore("metadata")
			return s.publish("3.0", today)
		}, 3, repository.ReasonRegression, client.ReasonRollback},
		// Nothing here remembers then, but nodes do.
		{"an older copy of everything is restored, and published to", func(s *shop) error {
			s.restore("metadata", ".tufboot")
			return s.publish("3.0", today)
		}, 0, "", client.ReasonRollback},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			err := row.do(s)
			if got := console.ExitCode(err); got != row.exit || err != nil && console.ReasonCode(err) != row.reason {
				t.Errorf("exit code %d, want %d %s (%v)", got, row.exit, row.reason, err)
			}
			if got := s.read(); got != row.node {
				t.Errorf("the node reads %s, want %s", got, row.node)
			}
		})
	}
}

// shop is a repository with release 2.0, a copy of it as it was before that, and
// a node that has read both.
type shop struct {
	*testing.T
	dir, older, node string
	root             []byte
	keys             *repository.KeyDir
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{T: t, dir: t.TempDir(), older: t.TempDir(), node: t.TempDir()}
	keysDir := t.TempDir()
	roles, err := repository.MakeKeys(keysDir, repository.KeyPlan{Type: repository.Ed25519, RootKeys: 1, RootThreshold: 1}, nil)
	s.must(err)
	s.keys, err = repository.OpenKeys([]string{keysDir}, nil)
	s.must(err)
	_, err = repository.Create(t.Context(), storage.NewFolder(s.dir), repository.CreateOptions{Options: options(today), Roles: roles, Keys: s.keys})
	s.must(err)
	s.root, err = os.ReadFile(filepath.Join(s.dir, "metadata", "1.root.json"))
	s.must(err)
	s.must(s.publish("1.0", today))
	s.must(os.CopyFS(s.older, os.DirFS(s.dir)))
	if got := s.read(); got != "1.0" {
		t.Fatal(got)
	}
	s.must(s.publish("1.5", today))
	s.must(s.publish("2.0", today))
	if got := s.read(); got != "2.0" {
		t.Fatal(got)
	}
	return s
}

func options(now time.Time) repository.Options {
	clock := func() time.Time { return now }
	return repository.Options{Now: clock, Rehearse: rehearsal.New(rehearsal.Options{Now: clock})}
}

func (s *shop) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *shop) publish(version string, now time.Time) error {
	s.Helper()
	r, err := repository.Open(s.Context(), storage.NewFolder(s.dir), options(now))
	s.must(err)
	file := filepath.Join(s.TempDir(), "file")
	s.must(os.WriteFile(file, []byte(version), 0o644))
	_, err = r.Publish(s.Context(), repository.PublishOptions{Version: version, Arch: "amd64", Channel: "stable", Kernel: file, Initramfs: file, Keys: s.keys})
	return err
}

// restore puts folders of the older copy back.
func (s *shop) restore(folders ...string) {
	s.Helper()
	for _, folder := range folders {
		s.must(os.RemoveAll(filepath.Join(s.dir, folder)))
		s.must(os.CopyFS(filepath.Join(s.dir, folder), os.DirFS(filepath.Join(s.older, folder))))
	}
}

// read returns the version that the node reads, or the reason why it reads none.
func (s *shop) read() string {
	s.Helper()
	c, err := client.New(client.Options{Server: "file://" + s.dir, Root: s.root, Dir: s.node, Now: func() time.Time { return today }})
	s.must(err)
	if err := c.Refresh(s.Context()); err != nil {
		return console.ReasonCode(err)
	}
	got, err := c.Resolve(s.Context(), "stable", "amd64")
	if err != nil {
		return console.ReasonCode(err)
	}
	return got.Release.Version
}
