package repository

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"tufboot/internal/atomicfile"
)

// initMark lies in a folder of keys while they are being made, so that a
// second attempt after a crash can tell them from the keys of another
// repository. Two repositories must not share keys: what is signed for the one
// would be valid in the other.
const initMark = ".init-unfinished"

// doneMark stays in a folder whose keys belong to a repository: a folder with
// nothing but linked keys has no other sign of it.
const doneMark = ".init-finished"

// publisherKeys starts the names of the keys for Channels and Releases: one set
// for both. Who publishes signs both, and a channel can have keys of its own.
const publisherKeys = "publish"

// KeyPlan says which keys a new repository gets. Root has RootKeys of them and
// needs RootThreshold; the others have one each unless More says otherwise.
type KeyPlan struct {
	Type          KeyType
	RootKeys      int
	RootThreshold int
	More          map[string]KeyCount // by role; Releases: who publishes
}

// KeyCount is how many keys a role gets, and how many of them must sign.
type KeyCount struct{ Keys, Threshold int }

func (p KeyPlan) count(role string) KeyCount {
	if role == Root {
		return KeyCount{p.RootKeys, p.RootThreshold}
	}
	if c, ok := p.More[role]; ok {
		return c
	}
	return KeyCount{1, 1}
}

func (p KeyPlan) check() error {
	for _, role := range append(Roles(), Releases) {
		if c := p.count(role); c.Keys < 1 || c.Threshold < 1 || c.Threshold > c.Keys {
			return refuse(ReasonThreshold, "use a threshold from 1 to the number of keys",
				"role %s: threshold %d with %d keys", role, c.Threshold, c.Keys)
		}
	}
	switch p.Type {
	case Ed25519, ECDSA, RSA:
		return nil
	}
	return refuseKeyType("key type %q", p.Type)
}

// MakeKeys makes the keys of a new repository in dir, under names that say what
// they sign (root-1.key, targets.key, publish.key, ...). A nil password leaves
// them unencrypted. A key of such a name that was linked before (timestamp.uri,
// see [LinkKey]) is taken, and none made. Keys of an attempt that did not reach
// FinishKeys are kept; a folder with other keys is refused with ReasonExists.
func MakeKeys(dir string, plan KeyPlan, password []byte) (map[string]RoleKeys, error) {
	return MakeKeysFor(dir, plan, append(Roles(), Releases), password)
}

// MakeKeysFor makes keys as [MakeKeys] does, for some roles only: top-level ones,
// and Releases, whose keys Channels gets too.
func MakeKeysFor(dir string, plan KeyPlan, only []string, password []byte) (map[string]RoleKeys, error) {
	if err := plan.check(); err != nil {
		return nil, err
	}
	if err := markKeys(dir); err != nil {
		return nil, err
	}
	roles := make(map[string]RoleKeys)
	for _, role := range only {
		count := plan.count(role)
		keys := RoleKeys{Threshold: count.Threshold}
		for _, name := range keyNames(role, count.Keys) {
			public, err := makeKey(dir, name, plan.Type, password)
			if err != nil {
				return nil, err
			}
			keys.Keys = append(keys.Keys, public)
		}
		roles[role] = keys
	}
	if keys, ok := roles[Releases]; ok {
		roles[Channels] = keys
	}
	return roles, nil
}

// FinishKeys says that the repository with the keys in dir is made.
func FinishKeys(dir string) error {
	if err := os.Rename(filepath.Join(dir, initMark), filepath.Join(dir, doneMark)); err != nil {
		return fmt.Errorf("finish keys: %w", err)
	}
	return atomicfile.SyncDir(dir)
}

// keyNames returns the file names of a role's keys. Root keys are numbered even
// if there is one: more will come.
func keyNames(role string, n int) []string {
	if role == Releases {
		role = publisherKeys
	}
	if n == 1 && role != Root {
		return []string{role}
	}
	names := make([]string, n)
	for i := range names {
		names[i] = role + "-" + strconv.Itoa(i+1)
	}
	return names
}

// markKeys makes dir and its mark, unless it holds keys without a mark.
func markKeys(dir string) error {
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	mark := filepath.Join(dir, initMark)
	if _, err := os.Stat(mark); err == nil {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	_, err = os.Stat(filepath.Join(dir, doneMark))
	done := err == nil
	for _, entry := range entries {
		suffix := filepath.Ext(entry.Name())
		if suffix == privateSuffix || suffix == uriSuffix && done {
			return refuse(ReasonExists, "name an empty folder: two repositories must not share keys",
				"folder %s holds keys already (%s)", dir, entry.Name())
		}
	}
	return atomicfile.Write(mark, nil, 0o600)
}

// makeKey returns the public half of the named key, which it makes if it is
// not there. WriteKey writes the private half last.
func makeKey(dir, name string, keyType KeyType, password []byte) (crypto.PublicKey, error) {
	for _, suffix := range []string{privateSuffix, uriSuffix} {
		path := filepath.Join(dir, name+suffix)
		if _, err := os.Stat(path); err == nil {
			return LoadPublicKey(KeyFile{Path: path}.PublicPath())
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("key: %w", err)
		}
	}
	private, err := GenerateKey(keyType)
	if err != nil {
		return nil, err
	}
	if _, err := WriteKey(dir, name, private, password); err != nil {
		return nil, err
	}
	return private.Public(), nil
}
