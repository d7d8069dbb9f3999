package repository

import (
	"context"
	"crypto"
	"encoding/json"
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
// would be valid in the other. It holds what is being made (see [attempt]).
const initMark = ".init-unfinished"

// doneMark stays in a folder whose keys belong to a repository: a folder with
// nothing but linked keys has no other sign of it.
const doneMark = ".init-finished"

// publisherKeys starts the names of the keys for Channels and Releases: one set
// for both. Who publishes signs both, and a channel can have keys of its own.
const publisherKeys = "publish"

// maxRoleKeys is the most keys that a role is made: each is a person, or a device
// in a person's hand, and more people than that do not come together.
const maxRoleKeys = 32

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
		} else if c.Keys > maxRoleKeys {
			return badValue(fmt.Errorf("role %s: %d keys, more than %d", role, c.Keys, maxRoleKeys))
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
// see [LinkKey]) is taken, and none made.
//
// Keys of an attempt that did not reach FinishKeys are kept if it had the same
// plan and password. A folder with other keys, or those of an attempt with
// another plan, is refused with ReasonExists; another password with
// ReasonWrongPassword. What is refused changes nothing.
func MakeKeys(dir string, plan KeyPlan, password []byte) (map[string]RoleKeys, error) {
	return MakeKeysFor(context.Background(), dir, plan, AllKeys(), password)
}

// AllKeys are the roles that a new repository has keys of: the top-level ones and
// Releases.
func AllKeys() []string { return append(Roles(), Releases) }

// MakeKeysFor makes keys as [MakeKeys] does, for some roles only: top-level ones,
// and Releases, whose keys Channels gets too. It stops before the next key when
// ctx ends.
func MakeKeysFor(ctx context.Context, dir string, plan KeyPlan, only []string, password []byte) (map[string]RoleKeys, error) {
	if err := plan.check(); err != nil {
		return nil, err
	}
	if err := startKeys(dir, plan, only, password); err != nil {
		return nil, err
	}
	roles := make(map[string]RoleKeys)
	for _, role := range only {
		count := plan.count(role)
		keys := RoleKeys{Threshold: count.Threshold}
		for _, name := range keyNames(role, count.Keys) {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("make keys: %w", err)
			}
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

// startKeys makes dir and its mark, unless they are there from an attempt that
// can be gone on with.
func startKeys(dir string, plan KeyPlan, only []string, password []byte) error {
	now := newAttempt(plan, only, password != nil)
	path := filepath.Join(dir, initMark)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := checkNoKeys(dir); err != nil {
			return err
		}
		if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("keys: %w", err)
	default:
		if before := parseAttempt(data); !now.goesOn(before) {
			return refuse(ReasonExists, goOn, "folder %s holds keys of an attempt that was cut short and had other arguments (%s)", dir, before)
		}
		if err := checkSamePassword(dir, plan, only, password); err != nil {
			return err
		}
	}
	mark, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return atomicfile.Write(path, append(mark, '\n'), 0o600)
}

// checkNoKeys refuses a folder that holds keys.
func checkNoKeys(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
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
	return nil
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
