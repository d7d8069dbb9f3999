package repository

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"tufboot/internal/atomicfile"
)

// initMark lies in a folder of keys while they are being made, so that a
// second attempt after a crash can tell them from the keys of another
// repository. Two repositories must not share keys: what is signed for the one
// would be valid in the other.
const initMark = ".init-unfinished"

// KeyPlan says which keys a new repository gets. Root has RootKeys of them and
// needs RootThreshold; targets, snapshot and timestamp have one each.
type KeyPlan struct {
	Type          KeyType
	RootKeys      int
	RootThreshold int
}

// MakeKeys makes the keys of a new repository in dir, under names that say
// their role (root-1.key, targets.key, ...). A nil password leaves them
// unencrypted. Keys of an attempt that did not reach FinishKeys are kept; a
// folder with other keys is refused with ReasonExists.
func MakeKeys(dir string, plan KeyPlan, password []byte) (map[string]RoleKeys, error) {
	if plan.RootKeys < 1 || plan.RootThreshold < 1 || plan.RootThreshold > plan.RootKeys {
		return nil, refuse(ReasonThreshold, "use a threshold from 1 to the number of keys",
			"role root: threshold %d with %d keys", plan.RootThreshold, plan.RootKeys)
	}
	switch plan.Type {
	case Ed25519, ECDSA, RSA:
	default:
		return nil, refuseKeyType("key type %q", plan.Type)
	}
	if err := markKeys(dir); err != nil {
		return nil, err
	}
	roles := make(map[string]RoleKeys)
	for _, role := range Roles() {
		keys := RoleKeys{Threshold: 1}
		names := []string{role}
		if role == Root {
			keys.Threshold = plan.RootThreshold
			names = rootKeyNames(plan.RootKeys)
		}
		for _, name := range names {
			public, err := makeKey(dir, name, plan.Type, password)
			if err != nil {
				return nil, err
			}
			keys.Keys = append(keys.Keys, public)
		}
		roles[role] = keys
	}
	return roles, nil
}

// FinishKeys says that the repository with the keys in dir is made.
func FinishKeys(dir string) error {
	if err := os.Remove(filepath.Join(dir, initMark)); err != nil {
		return fmt.Errorf("finish keys: %w", err)
	}
	return atomicfile.SyncDir(dir)
}

func rootKeyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = Root + "-" + strconv.Itoa(i+1)
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
	there, err := filepath.Glob(filepath.Join(dir, "*"+privateSuffix))
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if len(there) > 0 {
		return refuse(ReasonExists, "name an empty folder: two repositories must not share keys",
			"folder %s holds keys already (%s)", dir, filepath.Base(there[0]))
	}
	return atomicfile.Write(mark, nil, 0o600)
}

// makeKey returns the public half of the named key, which it makes if it is
// not there. WriteKey writes the private half last.
func makeKey(dir, name string, keyType KeyType, password []byte) (crypto.PublicKey, error) {
	if _, err := os.Stat(filepath.Join(dir, name+privateSuffix)); err == nil {
		data, err := os.ReadFile(filepath.Join(dir, name+publicSuffix))
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		return cryptoutils.UnmarshalPEMToPublicKey(data)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("key: %w", err)
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
