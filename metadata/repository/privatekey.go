package repository

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"tufboot/metadata/storage"
)

// PasswordError is how a [PasswordFunc] says that it has no password to give,
// as opposed to a wrong one.
type PasswordError struct{ Err error }

func (e *PasswordError) Error() string { return e.Err.Error() }
func (e *PasswordError) Unwrap() error { return e.Err }

// ErrAskFirst is how a [PasswordFunc] says that it would have to ask a person for
// the password, and must not now: the repository is locked. Who sees it asks, and
// does again what came to nothing; nothing was written.
var ErrAskFirst = errors.New("the password of a private key has to be asked for first")

// fileKey is a private key that was read from a file.
type fileKey struct{ signature.Signer }

func (k fileKey) signer(context.Context) signature.Signer { return k.Signer }

// readPrivateKey reads and decrypts a private key, and compares it with the
// public key beside it.
func readPrivateKey(file KeyFile, password PasswordFunc) (privateKey, error) {
	data, err := storage.ReadLocal(file.Path, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	private, err := parsePrivate(data, func() ([]byte, error) {
		if password == nil {
			return nil, &PasswordError{errors.New("encrypted, and no password is given")}
		}
		return password(file.Path)
	})
	if err != nil {
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
		return nil, refuse(ReasonKeyMismatch, "put the public key beside it that was made with it",
			"private key %s is not the other half of the public key beside it", file.Path)
	}
	return fileKey{signer}, nil
}

// parsePrivate returns the first private key in PEM data: PKCS#8 (PRIVATE
// KEY), the older RSA PRIVATE KEY (PKCS#1) and EC PRIVATE KEY (SEC 1), and what
// is encrypted as sigstore and cosign do it (scrypt and NaCl secretbox) or as
// PKCS#8 says (PBES2). A wrong password is refused with [ReasonWrongPassword].
func parsePrivate(data []byte, password func() ([]byte, error)) (private crypto.PrivateKey, err error) {
	block := privateBlock(data)
	if block == nil {
		return nil, errors.New("there is no private key in PEM form in it")
	}
	if !encrypted(block) {
		return cryptoutils.UnmarshalPEMToPrivateKey(pem.EncodeToMemory(block), nil)
	}
	pass, err := password()
	if err != nil {
		return nil, err
	}
	if pass == nil {
		pass = []byte{} // nil would mean "not encrypted" below
	}
	// The cipher block chaining of PKCS#8 panics if the file was cut short.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %v", p)
		}
	}()
	private, err = cryptoutils.UnmarshalPEMToPrivateKey(pem.EncodeToMemory(block), cryptoutils.StaticPasswordFunc(pass))
	if err != nil && (len(pass) == 0 || isWrongPassword(err)) {
		return nil, refuse(ReasonWrongPassword, "give the password that the key was made with", "%w", err)
	}
	return private, err
}

// privateBlock skips what openssl writes before a key, such as EC PARAMETERS.
func privateBlock(data []byte) *pem.Block {
	for {
		block, rest := pem.Decode(data)
		if block == nil || strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block
		}
		data = rest
	}
}

func encrypted(block *pem.Block) bool {
	return strings.HasPrefix(block.Type, "ENCRYPTED ") || block.Headers["DEK-Info"] != ""
}

// isWrongPassword tells a wrong password from a damaged file or a cipher that
// is not known. The libraries tell it in words alone.
func isWrongPassword(err error) bool {
	for _, words := range []string{
		"encrypted: decryption failed", // sigstore, cosign
		"pkcs8: incorrect password",
		"x509: decryption password incorrect", // the old way, with DEK-Info
	} {
		if strings.Contains(err.Error(), words) {
			return true
		}
	}
	return false
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
