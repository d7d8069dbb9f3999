package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tufboot/internal/atomicfile"
)

// Reason codes of a [RefusedError] about one key's files.
const (
	ReasonKeyExists = "key-exists" // there is a key of that name
	ReasonKeyName   = "bad-name"   // the name cannot be a file's name
)

// GenerateKeyFile makes a private key and writes it as [WriteKey] does. The
// folder is made if it is not there. A name that is taken there, be it by a
// public key alone, is refused with [ReasonKeyExists].
func GenerateKeyFile(dir, name string, keyType KeyType, password []byte) (KeyFile, error) {
	if err := checkNewKey(dir, name); err != nil {
		return KeyFile{}, err
	}
	private, err := GenerateKey(keyType)
	if err != nil {
		return KeyFile{}, err
	}
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return KeyFile{}, err
	}
	return WriteKey(dir, name, private, password)
}

// checkNewKey refuses a name that is no file's name, or taken.
func checkNewKey(dir, name string) error {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) {
		return refuse(ReasonKeyName, "use a name such as alice: it becomes alice.key and alice.pub", "key name %q", name)
	}
	for _, suffix := range []string{privateSuffix, publicSuffix} {
		path := filepath.Join(dir, name+suffix)
		if _, err := os.Lstat(path); err == nil {
			return refuse(ReasonKeyExists, "use another name; a key that is lost cannot be made again", "%s is there already", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("key: %w", err)
		}
	}
	return nil
}

// PublicPath returns the path of the public key beside the private one.
func (f KeyFile) PublicPath() string {
	return strings.TrimSuffix(f.Path, filepath.Ext(f.Path)) + publicSuffix
}
