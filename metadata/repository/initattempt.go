package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tufboot/metadata/storage"
)

// goOn is what to do about the keys of an attempt that was cut short.
const goOn = "give the arguments and the password of the first attempt, to go on with its keys; or, if no repository was made with them yet, remove the folder and begin anew"

// attempt is what initMark holds: which keys are being made. Keys of an attempt
// that was to make other ones are not gone on with: they might be unencrypted, of
// another type, or more than the repository names.
type attempt struct {
	Type      KeyType             `json:"type"`
	Encrypted bool                `json:"encrypted"`
	Roles     map[string]KeyCount `json:"roles"`
}

func newAttempt(plan KeyPlan, only []string, encrypted bool) attempt {
	a := attempt{Type: plan.Type, Encrypted: encrypted, Roles: make(map[string]KeyCount)}
	for _, role := range only {
		a.Roles[role] = plan.count(role)
	}
	return a
}

// parseAttempt reads a mark. One that says nothing, as those of earlier versions,
// is an attempt that nothing goes on with.
func parseAttempt(data []byte) attempt {
	var a attempt
	if json.Unmarshal(data, &a) != nil {
		return attempt{}
	}
	return a
}

// goesOn reports whether a makes what was to be made before, and maybe the keys
// of more roles.
func (a attempt) goesOn(before attempt) bool {
	for role, count := range before.Roles {
		if a.Roles[role] != count {
			return false
		}
	}
	return a.Type == before.Type && a.Encrypted == before.Encrypted
}

// String says for people what was to be made.
func (a attempt) String() string {
	if len(a.Roles) == 0 {
		return "which are not known"
	}
	words := []string{"type " + string(a.Type), "not encrypted"}
	if a.Encrypted {
		words[1] = "encrypted"
	}
	for _, role := range slices.Sorted(maps.Keys(a.Roles)) {
		words = append(words, fmt.Sprintf("%s %d/%d", role, a.Roles[role].Keys, a.Roles[role].Threshold))
	}
	return strings.Join(words, ", ")
}

// checkSamePassword refuses a password with which the first key that is there
// cannot be read: half of the keys would have one password, half another.
func checkSamePassword(dir string, plan KeyPlan, only []string, password []byte) error {
	for _, role := range only {
		for _, name := range keyNames(role, plan.count(role).Keys) {
			path := filepath.Join(dir, name+privateSuffix)
			if _, err := os.Stat(path); err != nil || password == nil {
				continue // what cannot be read is found when it is to be made
			}
			file, err := readKeyFile(path)
			if err != nil {
				return err
			}
			_, err = readPrivateKey(file, func(string) ([]byte, error) { return password, nil })
			var refused *RefusedError
			if errors.As(err, &refused) && refused.Reason == ReasonWrongPassword {
				return refuse(ReasonWrongPassword, goOn, "folder %s holds keys of an attempt that was cut short: %w", dir, refused.Err)
			}
			return err
		}
	}
	return nil
}

// CheckNew refuses what [Create] would refuse whatever the keys are, before any
// is made: a place in use, unless the keys in keysDir are those of an attempt that
// began to use it, and a policy that cannot be. It changes nothing.
func CheckNew(ctx context.Context, store storage.Store, keysDir string, policy Policy) error {
	if err := policy.check(); err != nil {
		return err
	}
	names := []string{bundleFile, timestampFile}
	if _, err := os.Stat(filepath.Join(keysDir, initMark)); err != nil {
		names = append(names, versionedFile(Root, 1))
	}
	for _, name := range names {
		if _, err := store.Stat(ctx, name); err == nil {
			return refuse(ReasonExists, "use it as it is, or name another folder", "there is a %s in %s already", name, store)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
