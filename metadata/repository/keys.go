package repository

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// KeyType is a kind of signing key that TUF clients can verify.
type KeyType string

// The key types. Others are refused, because a client that cannot verify a key
// only finds out when it can no longer update.
const (
	Ed25519 KeyType = "ed25519"
	ECDSA   KeyType = "ecdsa" // on the curve P-256, with SHA-256
	RSA     KeyType = "rsa"   // RSASSA-PSS with SHA-256
)

// Key lengths of RSA, in bits: of the keys made here, and the least accepted.
const (
	rsaBits    = 3072
	rsaMinBits = 2048
)

// GenerateKey makes a private key.
func GenerateKey(t KeyType) (crypto.Signer, error) {
	switch t {
	case Ed25519:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case ECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, refuseKeyType("key type %q", t)
}

// TypeOf returns the type of a public key, or a [RefusedError] if TUF clients
// cannot verify its signatures.
func TypeOf(public crypto.PublicKey) (KeyType, error) {
	switch k := public.(type) {
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize { // in metadata it is only so many hex digits
			return "", refuseKeyType("Ed25519 key of %d bytes", len(k))
		}
		return Ed25519, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "", refuseKeyType("ECDSA key on curve %s", k.Curve.Params().Name)
		}
		return ECDSA, nil
	case *rsa.PublicKey:
		if k.N.BitLen() < rsaMinBits {
			return "", refuseKeyType("RSA key of %d bits", k.N.BitLen())
		}
		return RSA, nil
	}
	return "", refuseKeyType("key of type %T", public)
}

func refuseKeyType(format string, args ...any) error {
	return refuse(ReasonKeyType, "use ed25519, ecdsa (P-256) or rsa (2048 bits or more)", format, args...)
}

// NewSigner wraps a private key as a signer whose signatures TUF clients can
// verify. RSA keys sign with PSS and a salt of the hash's length, as the TUF
// specification asks for (section 4.2, "rsassa-pss-sha256"); sigstore's own
// loader would make PKCS#1 v1.5 signatures, which clients refuse.
func NewSigner(private crypto.PrivateKey) (signature.Signer, error) {
	key, ok := private.(crypto.Signer)
	if !ok {
		return nil, refuseKeyType("private key of type %T", private)
	}
	if _, err := TypeOf(key.Public()); err != nil {
		return nil, err
	}
	if k, ok := private.(*rsa.PrivateKey); ok {
		return signature.LoadRSAPSSSigner(k, crypto.SHA256, &rsa.PSSOptions{
			SaltLength: rsa.PSSSaltLengthEqualsHash,
			Hash:       crypto.SHA256,
		})
	}
	return signature.LoadSigner(private, crypto.SHA256)
}

// tufKey returns the TUF form of a public key and its key id, the SHA-256 of
// its canonical JSON (TUF specification, section 4.2).
func tufKey(public crypto.PublicKey) (*tuf.Key, string, error) {
	if _, err := TypeOf(public); err != nil {
		return nil, "", err
	}
	key, err := tuf.KeyFromPublicKey(public)
	if err != nil {
		return nil, "", fmt.Errorf("public key: %w", err)
	}
	id, err := key.ID()
	if err != nil {
		return nil, "", fmt.Errorf("public key: %w", err)
	}
	return key, id, nil
}

// KeyID returns the TUF key id of a public key.
func KeyID(public crypto.PublicKey) (string, error) {
	_, id, err := tufKey(public)
	return id, err
}

// verifySignature verifies as the strictest of TUF's clients do. go-tuf takes
// an ECDSA signature in the raw form and any length of RSA's salt; clients in
// other languages take neither.
func verifySignature(public crypto.PublicKey, message, sig []byte) error {
	digest := sha256.Sum256(message)
	var ok bool
	var want string // TUF specification, section 4.2
	switch k := public.(type) {
	case ed25519.PublicKey:
		ok, want = len(k) == ed25519.PublicKeySize && ed25519.Verify(k, message, sig), "Ed25519 over the message itself"
	case *ecdsa.PublicKey:
		ok, want = ecdsa.VerifyASN1(k, digest[:], sig), "ECDSA on P-256 with SHA-256, in ASN.1"
	case *rsa.PublicKey:
		err := rsa.VerifyPSS(k, crypto.SHA256, digest[:], sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		ok, want = err == nil, "RSASSA-PSS with SHA-256 and a salt of 32 bytes"
	default:
		return refuseKeyType("key of type %T", public)
	}
	if !ok {
		return &InvalidError{Reason: ReasonBadSignature, Err: fmt.Errorf("it does not verify with the public key; clients want %s", want)}
	}
	return nil
}
