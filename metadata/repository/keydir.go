package repository

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
)

// Suffixes of a key's files: the private key as PEM, or where it is if it is
// not in a file; and the public key.
const (
	privateSuffix = ".key"
	uriSuffix     = ".uri"
	publicSuffix  = ".pub"
)

// Signers finds the signer for a key id. It returns an error that wraps
// [ErrNoKey] for a key that it does not hold, which is normal: root keys are
// kept offline.
type Signers interface {
	Signer(ctx context.Context, keyID string) (signature.Signer, error)
}

// PasswordFunc returns the password of the private key in the named file.
type PasswordFunc func(path string) ([]byte, error)

// KeyDir is the keys in one or more folders. It decrypts a private key, and
// speaks to a KMS, when that key's signer is first asked for, never earlier.
// It is not for several goroutines at once.
type KeyDir struct {
	// Logger gets warnings, such as that of a private key that others can
	// read; nil: nobody does.
	Logger *slog.Logger
	// Timeout is how long a KMS or a plugin program may take for one answer,
	// a person's touch of the device included; 0: one minute.
	Timeout time.Duration

	files    []KeyFile
	password PasswordFunc
	opened   map[string]privateKey // by path
}

// privateKey is a key whose private half is at hand and was found to belong
// to its public one.
type privateKey interface {
	// signer returns a signer that gives up when ctx ends. The signers that
	// go-tuf calls know no context, so that it is bound here.
	signer(ctx context.Context) signature.Signer
}

// OpenKeys lists the keys in the folders: NAME.key (PEM) or NAME.uri (a
// sigstore KMS URI), each with its public half NAME.pub beside it. There may
// be both of a name: the key in a device, and its copy kept for the day on
// which the device breaks.
func OpenKeys(dirs []string, password PasswordFunc) (*KeyDir, error) {
	k := &KeyDir{password: password, opened: make(map[string]privateKey)}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		for _, entry := range entries {
			name := entry.Name()
			suffix := filepath.Ext(name)
			if suffix != privateSuffix && suffix != uriSuffix || strings.HasPrefix(name, ".") {
				continue
			}
			file, err := readKeyFile(filepath.Join(dir, name))
			if err != nil {
				return nil, err
			}
			k.files = append(k.files, file)
		}
	}
	sort.Slice(k.files, func(i, j int) bool { return k.files[i].Path < k.files[j].Path })
	return k, nil
}

// Files returns the keys, ordered by path. A key that is in two folders is
// there twice.
func (k *KeyDir) Files() []KeyFile { return k.files }

// Signer returns the signer for a key id; see [Signers]. Where a key is there
// more than once, the first that works signs. A signature by a KMS or a plugin
// is verified before it is handed on.
func (k *KeyDir) Signer(ctx context.Context, keyID string) (signature.Signer, error) {
	var first error
	for _, file := range k.files {
		if file.ID != keyID {
			continue
		}
		private, err := k.open(ctx, file)
		if err == nil {
			return private.signer(ctx), nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrAskFirst) {
			return nil, err
		}
		if first == nil {
			first = err
		} else {
			k.warn("another copy of the key does not work either", "path", file.Path, "error", err)
		}
	}
	if first == nil {
		first = fmt.Errorf("key %s: %w", shortID(keyID), ErrNoKey)
	}
	return nil, first
}

// open returns the private half of a key.
func (k *KeyDir) open(ctx context.Context, file KeyFile) (privateKey, error) {
	if private := k.opened[file.Path]; private != nil {
		return private, nil
	}
	var private privateKey
	var err error
	if file.URI != "" {
		private, err = connect(ctx, file, k.timeout())
	} else {
		if text := exposed(file.Path); text != "" {
			k.warn(text, "path", file.Path)
		}
		private, err = readPrivateKey(file, k.password)
	}
	if err != nil {
		return nil, err
	}
	k.opened[file.Path] = private
	return private, nil
}

func (k *KeyDir) timeout() time.Duration {
	if k.Timeout > 0 {
		return k.Timeout
	}
	return time.Minute
}

func (k *KeyDir) warn(text string, args ...any) {
	if k.Logger != nil {
		k.Logger.Warn(text, args...)
	}
}

// exposed says what is wrong with the permissions of a private key, or "". It
// is no reason to refuse the key: it is mostly encrypted, and the file system
// of a USB stick may know no permissions.
func exposed(path string) string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o004 == 0 {
		return ""
	}
	return fmt.Sprintf("everybody on this machine can read the private key (mode %#o): chmod 600", info.Mode().Perm())
}
