package repository

import (
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"tufboot/internal/atomicfile"
	"tufboot/metadata/storage"
)

// KeyFile names a private key in a folder.
type KeyFile struct {
	Path string  `json:"path"` // of the private key, or of the file with its URI
	ID   string  `json:"id"`   // TUF key id
	Type KeyType `json:"type"`
	URI  string  `json:"uri,omitempty"` // where a key is that is not in a file; no secret is part of it
}

// PublicPath returns the path of the public key beside the private one.
func (f KeyFile) PublicPath() string {
	return strings.TrimSuffix(f.Path, filepath.Ext(f.Path)) + publicSuffix
}

// readKeyFile identifies a private key by the public key beside it.
func readKeyFile(path string) (KeyFile, error) {
	public, err := LoadPublicKey(KeyFile{Path: path}.PublicPath())
	if errors.Is(err, fs.ErrNotExist) {
		return KeyFile{}, fmt.Errorf("key %s: its public half is missing: %w", path, err)
	} else if err != nil {
		return KeyFile{}, err
	}
	file, err := keyFile(path, public)
	if err != nil || filepath.Ext(path) != uriSuffix {
		return file, err
	}
	file.URI, err = readURI(path)
	return file, err
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

// LoadPublicKey reads a public key from a PEM file (PUBLIC KEY, or RSA PUBLIC
// KEY). A key that TUF clients cannot verify is refused with [ReasonKeyType].
func LoadPublicKey(path string) (crypto.PublicKey, error) {
	data, err := storage.ReadLocal(path, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, fmt.Errorf("public key %s: there is no PEM in it", path)
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, fmt.Errorf("public key %s: this is a private key; its public half is in %s", path, KeyFile{Path: path}.PublicPath())
	}
	if second, _ := pem.Decode(rest); second != nil {
		return nil, fmt.Errorf("public key %s: there is more than one key in it", path)
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("public key %s: %w", path, err)
	}
	if _, err := TypeOf(public); err != nil {
		return nil, fmt.Errorf("public key %s: %w", path, err)
	}
	return public, nil
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
	// The public half goes first: a private key is never without it.
	if err := writePublic(file, private.Public()); err != nil {
		return KeyFile{}, err
	}
	return file, atomicfile.Write(path, data, 0o600)
}

func writePublic(file KeyFile, public crypto.PublicKey) error {
	data, err := cryptoutils.MarshalPublicKeyToPEM(public)
	if err != nil {
		return fmt.Errorf("key %s: %w", file.Path, err)
	}
	return atomicfile.Write(file.PublicPath(), data, 0o644)
}

// shortID shortens a key id for people.
func shortID(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
