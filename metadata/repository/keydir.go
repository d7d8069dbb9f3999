package repository

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"tufboot/internal/atomicfile"
)

// Suffixes of a key's two files. The private one is PEM, encrypted as
// sigstore does it (scrypt and NaCl secretbox) unless made without a password.
const (
	privateSuffix = ".key"
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

// KeyFile names a private key in a folder.
type KeyFile struct {
	Path string  `json:"path"` // of the private key
	ID   string  `json:"id"`   // TUF key id
	Type KeyType `json:"type"`
}

// KeyDir is the keys in one or more folders. It decrypts a private key when
// its signer is first asked for, never earlier.
type KeyDir struct {
	files    []KeyFile
	password PasswordFunc
	signers  map[string]signature.Signer
}

// OpenKeys lists the keys in the folders by their public halves (NAME.pub
// beside NAME.key).
func OpenKeys(dirs []string, password PasswordFunc) (*KeyDir, error) {
	k := &KeyDir{password: password, signers: make(map[string]signature.Signer)}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		for _, entry := range entries {
			name, ok := strings.CutSuffix(entry.Name(), privateSuffix)
			if !ok || strings.HasPrefix(name, ".") {
				continue
			}
			file, err := readKeyFile(filepath.Join(dir, entry.Name()))
			if err != nil {
				return nil, err
			}
			k.files = append(k.files, file)
		}
	}
	sort.Slice(k.files, func(i, j int) bool { return k.files[i].Path < k.files[j].Path })
	return k, nil
}

// readKeyFile identifies a private key by the public key beside it.
func readKeyFile(path string) (KeyFile, error) {
	publicPath := strings.TrimSuffix(path, privateSuffix) + publicSuffix
	data, err := os.ReadFile(publicPath)
	if errors.Is(err, fs.ErrNotExist) {
		return KeyFile{}, fmt.Errorf("key %s: its public half %s is missing: %w", path, publicPath, err)
	} else if err != nil {
		return KeyFile{}, fmt.Errorf("key: %w", err)
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey(data)
	if err != nil {
		return KeyFile{}, fmt.Errorf("public key %s: %w", publicPath, err)
	}
	return keyFile(path, public)
}

func keyFile(path string, public crypto.PublicKey) (KeyFile, error) {
	keyType, err := TypeOf(public)
	if err != nil {
		return KeyFile{}, fmt.Errorf("key %s: %w", path, err)
	}
	id, err := KeyID(public)
	if err != nil {
		return KeyFile{}, fmt.Errorf("key %s: %w", path, err)
	}
	return KeyFile{Path: path, ID: id, Type: keyType}, nil
}

// Files returns the keys, ordered by path.
func (k *KeyDir) Files() []KeyFile { return k.files }

// Signer returns the signer for a key id; see [Signers].
func (k *KeyDir) Signer(_ context.Context, keyID string) (signature.Signer, error) {
	if s := k.signers[keyID]; s != nil {
		return s, nil
	}
	for _, file := range k.files {
		if file.ID != keyID {
			continue
		}
		s, err := loadSigner(file, k.password)
		if err != nil {
			return nil, err
		}
		k.signers[keyID] = s
		return s, nil
	}
	return nil, fmt.Errorf("key %s: %w", shortID(keyID), ErrNoKey)
}

func loadSigner(file KeyFile, password PasswordFunc) (signature.Signer, error) {
	data, err := os.ReadFile(file.Path)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	pass := func(bool) ([]byte, error) {
		if password == nil {
			return nil, &PasswordError{errors.New("encrypted, and no password is given")}
		}
		return password(file.Path)
	}
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(data, pass)
	if err != nil && bytes.Contains(data, []byte("ENCRYPTED")) && !isPasswordError(err) {
		return nil, refuse(ReasonWrongPassword, "give the password that the key was made with",
			"private key %s: %w", file.Path, err)
	} else if err != nil {
		return nil, fmt.Errorf("private key %s: %w", file.Path, err)
	}
	signer, err := NewSigner(private)
	if err != nil {
		return nil, fmt.Errorf("private key %s: %w", file.Path, err)
	}
	public, err := signer.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("private key %s: %w", file.Path, err)
	}
	if id, err := KeyID(public); err != nil || id != file.ID {
		return nil, fmt.Errorf("private key %s is not the other half of the public key beside it", file.Path)
	}
	return signer, nil
}

// WriteKey writes a private key to dir/name.key, readable by its owner only,
// and its public half to dir/name.pub. A nil password leaves it unencrypted.
func WriteKey(dir, name string, private crypto.Signer, password []byte) (KeyFile, error) {
	path := filepath.Join(dir, name+privateSuffix)
	file, err := keyFile(path, private.Public())
	if err != nil {
		return KeyFile{}, err
	}
	data, err := encodePrivate(private, password)
	if err != nil {
		return KeyFile{}, fmt.Errorf("private key %s: %w", path, err)
	}
	public, err := cryptoutils.MarshalPublicKeyToPEM(private.Public())
	if err != nil {
		return KeyFile{}, fmt.Errorf("key %s: %w", path, err)
	}
	// The public half goes first: a private key is never without it.
	if err := atomicfile.Write(filepath.Join(dir, name+publicSuffix), public, 0o644); err != nil {
		return KeyFile{}, err
	}
	return file, atomicfile.Write(path, data, 0o600)
}

func encodePrivate(private crypto.Signer, password []byte) ([]byte, error) {
	if password == nil {
		return cryptoutils.MarshalPrivateKeyToPEM(private)
	}
	der, err := cryptoutils.MarshalPrivateKeyToEncryptedDER(private, cryptoutils.StaticPasswordFunc(password))
	if err != nil {
		return nil, err
	}
	return cryptoutils.PEMEncode(cryptoutils.EncryptedSigstorePrivateKeyPEMType, der), nil
}

// PasswordError is how a [PasswordFunc] says that it has no password to give,
// as opposed to a wrong one.
type PasswordError struct{ Err error }

func (e *PasswordError) Error() string { return e.Err.Error() }
func (e *PasswordError) Unwrap() error { return e.Err }

func isPasswordError(err error) bool {
	var e *PasswordError
	return errors.As(err, &e)
}

// shortID shortens a key id for people.
func shortID(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
