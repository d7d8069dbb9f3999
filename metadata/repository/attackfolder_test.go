package repository

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"tufboot/metadata/client"
	"tufboot/metadata/storage"
)

// folderAttacks are done to the files by somebody who can write the folder and
// has no key, or by a disk that loses something.
func folderAttacks() []attack {
	var rows []attack
	// What a publication reads: torn, emptied, gone, or replaced.
	for _, file := range []string{"2.root", "timestamp", "4.snapshot", "2.targets", "4.channels", "4.releases"} {
		path := "metadata/" + file + ".json"
		for how, spoil := range map[string]func(s *scene, path string){
			"cut short": func(s *scene, path string) { s.cut(path) },
			"empty":     func(s *scene, path string) { s.overwrite(path, nil) },
			"garbage":   func(s *scene, path string) { s.overwrite(path, bytes.Repeat([]byte("{\"a\":"), 1000)) },
			"null":      func(s *scene, path string) { s.overwrite(path, []byte("null")) },
			"with a byte changed": func(s *scene, path string) {
				s.change(path, func(data []byte) []byte {
					return bytes.Replace(data, []byte(`"expires": "2`), []byte(`"expires": "3`), 1)
				})
			},
		} {
			rows = append(rows, attack{name: path + " " + how, do: func(s *scene) error {
				spoil(s, filepath.Join(s.dir, path))
				s.ready()
				err := s.publish()
				if verr := s.verify(); verr == nil {
					s.Error("verify says nothing")
				}
				return err
			}, exit: 4, reason: ReasonBadRepository, spoils: true})
		}
	}
	for _, file := range []string{"2.root", "timestamp", "2.targets", "4.channels"} {
		path := "metadata/" + file + ".json"
		rows = append(rows, attack{name: path + " huge", do: func(s *scene) error {
			s.overwrite(filepath.Join(s.dir, path), bytes.Repeat([]byte(" "), maxMetadata+1))
			s.ready()
			return s.publish()
		}, exit: 4, reason: ReasonBadRepository, says: "larger than it can rightly be", spoils: true})
	}
	return append(rows, []attack{
		{name: "the timestamp is missing", do: func(s *scene) error { return s.gone("metadata/timestamp.json") },
			exit: 4, reason: ReasonBadRepository, spoils: true},
		{name: "the snapshot is missing", do: func(s *scene) error { return s.gone("metadata/4.snapshot.json") },
			exit: 4, reason: ReasonBadRepository, spoils: true},
		{name: "all roots are missing", do: func(s *scene) error {
			s.remove("metadata/2.root.json")
			return s.gone("metadata/1.root.json")
		}, exit: 3, reason: ReasonNotRepository, spoils: true},
		{name: "a kernel is cut short", do: func(s *scene) error {
			s.cut(s.file("targets/releases/2.0/amd64/*.vmlinuz"))
			s.ready()
			return s.verify()
		}, exit: 4, reason: "bad-length", spoils: true},
		{name: "a kernel is another", do: func(s *scene) error {
			s.overwrite(s.file("targets/releases/2.0/amd64/*.vmlinuz"), []byte("kernel 6.6"))
			s.ready()
			return s.verify()
		}, exit: 4, reason: "bad-hash", spoils: true},
		{name: "a channel file is another", do: func(s *scene) error {
			for _, path := range s.files("targets/channels/*.stable.json") {
				s.change(path, func(data []byte) []byte { return bytes.ReplaceAll(data, []byte("amd64"), []byte("amd65")) })
			}
			s.ready()
			return s.publish()
		}, exit: 4, reason: ReasonBadRepository, spoils: true},
		{name: "a kernel is a link out of the folder", do: func(s *scene) error {
			s.link("/etc/passwd", s.file("targets/releases/2.0/amd64/*.vmlinuz"))
			s.ready()
			return s.verify()
		}, exit: 4, reason: "bad-length", spoils: true},
		{name: "the timestamp is a link out of the folder", do: func(s *scene) error {
			s.link("/etc/passwd", filepath.Join(s.dir, "metadata/timestamp.json"))
			s.ready()
			return s.publish()
		}, exit: 4, reason: ReasonBadRepository, spoils: true},
		{name: "the timestamp is a folder", do: func(s *scene) error {
			s.remove("metadata/timestamp.json")
			if err := os.Mkdir(filepath.Join(s.dir, "metadata/timestamp.json"), 0o755); err != nil {
				s.Fatal(err)
			}
			s.ready()
			return s.publish()
		}, exit: 4, reason: ReasonBadRepository, says: "not a regular file", spoils: true},
		{name: "the next file is a link out of the folder", do: func(s *scene) error {
			outside := filepath.Join(s.TempDir(), "victim")
			s.link(outside, filepath.Join(s.dir, "metadata/5.releases.json"))
			s.ready()
			err := s.publish()
			if _, statErr := os.Lstat(outside); statErr == nil {
				s.Error("something was written out of the folder")
			}
			return err
		}, exit: 3, reason: ReasonConflict},
		{name: "the folder belongs to somebody else", do: func(s *scene) error {
			s.readableKeys()
			return asNobody(s, s.publishing(start, "3.0", "3.0"))
		}, exit: 1, reason: "error", says: "permission denied"},
		{name: "a file may not be read", do: func(s *scene) error {
			s.readableKeys()
			s.ready()
			path := filepath.Join(s.dir, "metadata/2.targets.json")
			if err := os.Chmod(path, 0); err != nil {
				s.Fatal(err)
			}
			defer os.Chmod(path, 0o644)
			return asNobody(s, func() error { _, err := s.repo().Status(s.Context()); return err })
		}, exit: 1, reason: "error", says: "permission denied"},
		{name: "a forged root that trusts the attacker", do: func(s *scene) error {
			s.forge()
			s.ready()
			_, err := s.repo().Refresh(s.Context(), RefreshOptions{Keys: s.keys, All: true})
			return err
		}, exit: 4, reason: ReasonBadRepository, spoils: true},
	}...)
}

// replayAttacks put signed files of an older time back.
func replayAttacks() []attack {
	see := func(s *scene) error {
		_, err := nodeFor(s.T, s.dir, s.root, s.node, start).see()
		return err
	}
	return []attack{
		{name: "the timestamp: a node", do: func(s *scene) error {
			s.restore("metadata/timestamp.json", "metadata/timestamp.json")
			s.ready()
			return see(s)
		}, exit: 4, reason: client.ReasonRollback, spoils: true},
		{name: "the snapshot under the new number", do: func(s *scene) error {
			s.restore("metadata/2.snapshot.json", "metadata/4.snapshot.json")
			s.ready()
			return s.publish()
		}, exit: 4, reason: ReasonBadRepository, spoils: true},
		{name: "targets under the new number", do: func(s *scene) error {
			s.restore("metadata/1.targets.json", "metadata/2.targets.json")
			s.ready()
			return s.publish()
		}, exit: 4, reason: ReasonBadRepository, spoils: true},
		{name: "a channel under the new number", do: func(s *scene) error {
			s.restore("metadata/2.channels.json", "metadata/4.channels.json")
			s.ready()
			return s.publish()
		}, exit: 4, reason: ReasonBadRepository, spoils: true},
		{name: "the first root under the number of the second", do: func(s *scene) error {
			s.restore("metadata/1.root.json", "metadata/2.root.json")
			s.ready()
			return s.verify()
		}, exit: 4, reason: ReasonBadRepository, spoils: true},
		{name: "the first root as a third", do: func(s *scene) error {
			s.restore("metadata/1.root.json", "metadata/3.root.json")
			s.ready()
			return s.publish()
		}, exit: 4, reason: ReasonBadRepository, spoils: true},
		{name: "the whole repository: a node", do: func(s *scene) error {
			s.restoreAll()
			s.ready()
			return see(s)
		}, exit: 4, reason: client.ReasonRollback, spoils: true},
	}
}

func (s *scene) cut(path string) {
	s.change(path, func(data []byte) []byte { return data[:len(data)/2] })
}

// change rewrites a file, and fails if that changes nothing.
func (s *scene) change(path string, with func([]byte) []byte) {
	s.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	changed := with(bytes.Clone(data))
	if bytes.Equal(changed, data) {
		s.Fatalf("%s is as it was", path)
	}
	s.overwrite(path, changed)
}

func (s *scene) remove(name string) {
	s.Helper()
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
		s.Fatal(err)
	}
}

// gone takes a file away and publishes.
func (s *scene) gone(name string) error {
	s.remove(name)
	s.ready()
	return s.publish()
}

func (s *scene) files(pattern string) []string {
	s.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, pattern))
	if err != nil || len(found) == 0 {
		s.Fatalf("%s: %v", pattern, err)
	}
	return found
}

// link puts a symbolic link in the place of a file.
func (s *scene) link(to, path string) {
	s.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) restoreAll() {
	s.Helper()
	if err := os.RemoveAll(s.dir); err != nil {
		s.Fatal(err)
	}
	copyTree(s.T, s.older, s.dir)
}

// readableKeys makes sure that it is not the keys that cannot be read.
func (s *scene) readableKeys() {
	s.Helper()
	for path := range contentOf(s.T, s.keysDir) {
		if err := os.Chmod(filepath.Join(s.keysDir, path), 0o644); err != nil {
			s.Fatal(err)
		}
	}
}

// forge adds a root that the attacker has signed alone: it lists our online keys
// beside the attacker's, so that we would sign what the attacker has put below.
func (s *scene) forge() {
	s.Helper()
	st, err := load(s.Context(), storage.NewFolder(s.dir))
	if err != nil {
		s.Fatal(err)
	}
	private, err := GenerateKey(Ed25519)
	if err != nil {
		s.Fatal(err)
	}
	key, id, err := tufKey(private.Public())
	if err != nil {
		s.Fatal(err)
	}
	signer, err := NewSigner(private)
	if err != nil {
		s.Fatal(err)
	}
	root := st.root
	root.Signed.Version++
	root.Signed.Keys[id] = key
	for _, role := range Roles() {
		r := root.Signed.Roles[role]
		r.KeyIDs, r.Threshold = append(r.KeyIDs, id), 1
	}
	a, err := rootAuthority(&root.Signed, Root)
	if err != nil {
		s.Fatal(err)
	}
	data, err := signNew(a, root, []roleSigner{{id: id, signer: signer}})
	if err != nil {
		s.Fatal(err)
	}
	s.overwrite(filepath.Join(s.dir, "metadata/3.root.json"), data)
}

// asNobody does something with the rights of the user nobody, as far as files are
// concerned. Where the tests do not run as root they have few rights anyway: then
// the files are taken from them.
func asNobody(s *scene, do func() error) error {
	s.Helper()
	if os.Geteuid() != 0 {
		return notRoot(s, do)
	}
	const nobody = 65534
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := errors.Join(unix.Setfsuid(nobody), unix.Setfsgid(nobody)); err != nil {
		s.Fatal(err)
	}
	defer func() { _ = errors.Join(unix.Setfsuid(0), unix.Setfsgid(0)) }()
	return do()
}

func notRoot(s *scene, do func() error) error {
	s.Helper()
	for _, dir := range []string{s.dir, filepath.Join(s.dir, storage.WorkDir), filepath.Join(s.dir, "metadata")} {
		if err := os.Chmod(dir, 0o555); err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	}
	if strings.Contains(s.Name(), "private_key") {
		if err := os.Chmod(filepath.Join(s.keysDir, "publish.key"), 0); err != nil {
			s.Fatal(err)
		}
	}
	return do()
}
