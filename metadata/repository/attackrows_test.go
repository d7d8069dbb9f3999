package repository

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"tufboot/metadata/storage"
)

// nameAttacks give names that lead out of where they belong. Those in what others
// have signed are in attacksigned_test.go.
func nameAttacks() []attack {
	release := func(spoil func(o *PublishOptions)) func(s *scene) error {
		return func(s *scene) error {
			opts := release(s.T, s.keys, "3.0", "3.0")
			spoil(&opts)
			_, err := s.repo().Publish(s.Context(), opts)
			return err
		}
	}
	target := func(name string) func(s *scene) error {
		return func(s *scene) error {
			e, err := s.repo().Edit(s.Context())
			if err != nil {
				return err
			}
			defer e.Close()
			_, err = e.AddBytes(s.Context(), name, []byte("evil"))
			return err
		}
	}
	return []attack{
		{name: "version ../../x", do: release(func(o *PublishOptions) { o.Version = "../../x" }), exit: 2, reason: "usage", says: `version "../../x"`},
		{name: "version ..", do: release(func(o *PublishOptions) { o.Version = ".." }), exit: 2, reason: "usage"},
		{name: "architecture ../x", do: release(func(o *PublishOptions) { o.Arch = "../x" }), exit: 2, reason: "usage", says: `architecture "../x"`},
		{name: "channel ../x", do: release(func(o *PublishOptions) { o.Channel = "../x" }), exit: 2, reason: "usage", says: `channel "../x"`},
		{name: "channel a/b", do: release(func(o *PublishOptions) { o.Channel = "a/b" }), exit: 2, reason: "usage"},
		{name: "target ../x", do: target("../x"), exit: 1, reason: "error", says: "not a clean relative path"},
		{name: "target /etc/passwd", do: target("/etc/passwd"), exit: 1, reason: "error"},
		{name: "target a/../../x", do: target("a/../../x"), exit: 1, reason: "error"},
		{name: `target a\x`, do: target(`a\x`), exit: 1, reason: "error"},
		{name: "target .tufboot/lock", do: target(".tufboot/lock"), exit: 1, reason: "error"},
		{name: "target with a zero byte", do: target("a\x00"), exit: 1, reason: "error"},
		{name: "target of ours by a role of another", do: target("releases/../channels/stable.json"), exit: 1, reason: "error"},
		{name: "key ../x", do: func(s *scene) error {
			_, err := GenerateKeyFile(s.keysDir, "../x", Ed25519, nil)
			return err
		}, exit: 3, reason: ReasonKeyName},
		{name: "command line with a quote", do: release(func(o *PublishOptions) { o.Cmdline = `quiet" init=/bin/sh` }), exit: 2, reason: "usage"},
		{name: "command line that names a slot", do: release(func(o *PublishOptions) { o.Cmdline = "tufboot.slot=A" }), exit: 2, reason: "usage"},
	}
}

// keyAttacks are keys that are wrong, missing, or too few.
func keyAttacks() []attack {
	create := func(change func(roles map[string]RoleKeys)) func(s *scene) error {
		return func(s *scene) error {
			roles, keys, _ := fixedKeys(s.T, KeyPlan{Type: Ed25519, RootKeys: 2, RootThreshold: 2})
			change(roles)
			to := storage.NewFolder(s.TempDir())
			_, err := Create(s.Context(), to, CreateOptions{Options: at(start), Roles: roles, Keys: keys})
			if left, _ := os.ReadDir(filepath.Join(to.String(), "metadata")); len(left) > 0 {
				s.Error("something was written")
			}
			return err
		}
	}
	rootKeys := func(change func(k *RoleKeys)) func(roles map[string]RoleKeys) {
		return func(roles map[string]RoleKeys) {
			k := roles[Root]
			change(&k)
			roles[Root] = k
		}
	}
	without := func(name string) func(s *scene) error {
		return func(s *scene) error {
			for _, suffix := range []string{privateSuffix, publicSuffix} {
				if err := os.Remove(filepath.Join(s.keysDir, name+suffix)); err != nil {
					s.Fatal(err)
				}
			}
			s.ready()
			return s.publish()
		}
	}
	return []attack{
		{name: "threshold above the number of keys", do: create(rootKeys(func(k *RoleKeys) { k.Threshold = 3 })), exit: 3, reason: ReasonThreshold},
		{name: "threshold 0", do: create(rootKeys(func(k *RoleKeys) { k.Threshold = 0 })), exit: 3, reason: ReasonThreshold},
		{name: "threshold -1 of a delegation", do: create(func(r map[string]RoleKeys) {
			r[Releases] = RoleKeys{r[Releases].Keys, -1}
		}), exit: 3, reason: ReasonThreshold},
		{name: "no keys", do: create(rootKeys(func(k *RoleKeys) { *k = RoleKeys{} })), exit: 3, reason: ReasonThreshold},
		{name: "one key twice", do: create(rootKeys(func(k *RoleKeys) { k.Keys[1] = k.Keys[0] })), exit: 3, reason: ReasonDuplicateKey},
		{name: "a key that clients cannot verify", do: create(rootKeys(func(k *RoleKeys) { k.Keys[0] = p384() })), exit: 3, reason: ReasonKeyType},
		{name: "a root key that is not here", do: create(func(r map[string]RoleKeys) {
			private, err := GenerateKey(Ed25519)
			if err == nil {
				r[Root].Keys[0] = private.Public()
			}
		}), exit: 3, reason: ReasonNotEnoughKeys},
		{name: "no key for publishing", do: without("publish"), exit: 3, reason: ReasonNotEnoughKeys, says: "--keys"},
		{name: "no key for the timestamp", do: without("timestamp"), exit: 3, reason: ReasonNotEnoughKeys},
		{name: "wrong signer: another repository's keys", do: func(s *scene) error {
			_, keys, _ := fixedKeys(s.T, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
			s.keys = keys
			return s.publish()
		}, exit: 3, reason: ReasonNotEnoughKeys},
		{name: "wrong password", do: func(s *scene) error {
			s.encrypt("publish", "right")
			keys, err := OpenKeys([]string{s.keysDir}, func(string) ([]byte, error) { return []byte("wrong"), nil })
			if err != nil {
				s.Fatal(err)
			}
			s.keys = keys
			return s.publish()
		}, exit: 3, reason: ReasonWrongPassword},
		{name: "no password", do: func(s *scene) error {
			s.encrypt("publish", "right")
			s.ready()
			return s.publish()
		}, exit: 1, reason: "error", says: "password"},
		{name: "the private key is cut short", do: func(s *scene) error {
			path := filepath.Join(s.keysDir, "publish.key")
			data, err := os.ReadFile(path)
			if err != nil {
				s.Fatal(err)
			}
			s.overwrite(path, data[:len(data)/2])
			return s.publish()
		}, exit: 1, reason: "error", says: "publish.key"},
		{name: "the private key is a folder", do: func(s *scene) error {
			path := filepath.Join(s.keysDir, "publish.key")
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o755)); err != nil {
				s.Fatal(err)
			}
			return s.publish()
		}, exit: 1, reason: "error", says: "publish.key"},
		{name: "the private key may not be read", do: func(s *scene) error {
			return asNobody(s, s.publishing(start, "3.0", "3.0"))
		}, exit: 1, reason: "error", says: "permission denied"},
		{name: "the public key is another one's", do: func(s *scene) error {
			data, err := os.ReadFile(filepath.Join(s.keysDir, "timestamp.pub"))
			if err != nil {
				s.Fatal(err)
			}
			s.overwrite(filepath.Join(s.keysDir, "publish.pub"), data)
			s.ready()
			return s.publish()
		}, exit: 3, reason: ReasonNotEnoughKeys},
	}
}

// mistakes are orders that make no sense, or come at the wrong time.
func mistakes() []attack {
	return []attack{
		{name: "the same version with other content", do: func(s *scene) error { return s.publishAt(start, "2.0", "other") },
			exit: 3, reason: ReasonVersionExists},
		{name: "an old release again", do: func(s *scene) error { return s.publishAt(start, "1.0", "1.0") },
			exit: 3, reason: ReasonChannelMoved},
		{name: "a repository in the place of another", do: func(s *scene) error {
			roles, keys, _ := fixedKeys(s.T, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
			_, err := Create(s.Context(), storage.NewFolder(s.dir), CreateOptions{Options: at(start), Roles: roles, Keys: keys})
			return err
		}, exit: 3, reason: ReasonExists},
		{name: "keys in the place of others", do: func(s *scene) error {
			_, err := MakeKeys(s.keysDir, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1}, nil)
			return err
		}, exit: 3, reason: ReasonExists},
		{name: "not a repository", do: func(s *scene) error {
			_, err := Open(s.Context(), storage.NewFolder(s.TempDir()), Options{})
			return err
		}, exit: 3, reason: ReasonNotRepository},
		{name: "a policy that is due at once", do: func(s *scene) error {
			roles, keys, _ := fixedKeys(s.T, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1})
			_, err := Create(s.Context(), storage.NewFolder(s.TempDir()), CreateOptions{Roles: roles, Keys: keys, Policy: Policy{Timestamp: {day, day}}})
			return err
		}, exit: 3, reason: ReasonBadPolicy},
		{name: "two publishers in one folder", do: func(s *scene) error {
			e, err := s.repo().Edit(s.Context())
			if err != nil {
				return err
			}
			defer e.Close()
			return s.publish()
		}, exit: 3, reason: ReasonLocked},
		{name: "two publishers where no lock keeps them apart", do: func(s *scene) error {
			first := newRepository(unlocked{storage.NewFolder(s.dir)}, at(start))
			e, err := first.Edit(s.Context())
			if err != nil {
				return err
			}
			defer e.Close()
			if _, err := e.AddBytes(s.Context(), "channels/new.json", []byte("{}")); err != nil {
				return err
			}
			second := newRepository(unlocked{storage.NewFolder(s.dir)}, at(start))
			if _, err := second.Refresh(s.Context(), RefreshOptions{Keys: s.keys, All: true}); err != nil {
				s.Fatal(err)
			}
			s.ready()
			_, err = e.Commit(s.Context(), s.keys)
			return err
		}, exit: 3, reason: ReasonConflict, says: "run this command again"},
		{name: "an empty kernel", do: func(s *scene) error {
			opts := release(s.T, s.keys, "3.0", "3.0")
			s.overwrite(opts.Kernel, nil)
			_, err := s.repo().Publish(s.Context(), opts)
			return err
		}, exit: 2, reason: "usage", says: "empty"},
		{name: "a kernel that is not there", do: func(s *scene) error {
			opts := release(s.T, s.keys, "3.0", "3.0")
			opts.Kernel += "x"
			_, err := s.repo().Publish(s.Context(), opts)
			return err
		}, exit: 1, reason: "error", says: "no such file"},
		{name: "stopped by the user", do: func(s *scene) error {
			ctx, cancel := context.WithCancel(s.Context())
			cancel()
			_, err := s.repo().Publish(ctx, release(s.T, s.keys, "3.0", "3.0"))
			return err
		}, exit: 1, reason: "error", says: "context canceled"},
	}
}

func p384() crypto.PublicKey {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key.Public()
}

// encrypt makes a new key with a password and the name of an old one, whose
// public half stays, so that it is asked for.
func (s *scene) encrypt(name, password string) {
	s.Helper()
	private, err := GenerateKey(Ed25519)
	if err != nil {
		s.Fatal(err)
	}
	public, err := os.ReadFile(filepath.Join(s.keysDir, name+publicSuffix))
	if err != nil {
		s.Fatal(err)
	}
	if _, err := WriteKey(s.keysDir, name, private, []byte(password)); err != nil {
		s.Fatal(err)
	}
	s.overwrite(filepath.Join(s.keysDir, name+publicSuffix), public)
	if !strings.HasPrefix(name, "publish") {
		s.Fatal("only of the publisher's key")
	}
}
