//go:build cgo

package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"

	"github.com/sigstore/sigstore/pkg/signature"
)

// key answers the protocol's questions about the key of a URI. Each question
// is a process, a session and a login of its own.
type key struct {
	uri    keyURI
	hash   crypto.Hash // what the caller will verify with; 0 for Ed25519
	getenv func(string) string
}

// with calls f with an open session.
func (k *key) with(write bool, f func(*token) error) error {
	path, err := modulePath(k.uri, k.getenv)
	if err != nil {
		return err
	}
	t, err := openToken(k.uri, path, write)
	if err != nil {
		return err
	}
	defer t.close()
	err = explain(f(t))
	if errors.Is(err, errNoObject) {
		return fmt.Errorf("key %s: %w", k.name(), err)
	}
	return err
}

func (k *key) name() string {
	if k.uri.object != "" {
		return fmt.Sprintf("%q", k.uri.object)
	}
	return fmt.Sprintf("with id %x", k.uri.id)
}

func (k *key) pin() (string, error) { return userPIN(k.uri, k.getenv) }

// PublicKey logs in only if the token hides public keys.
func (k *key) PublicKey(...signature.PublicKeyOption) (public crypto.PublicKey, err error) {
	err = k.with(false, func(t *token) error {
		public, err = t.publicKey()
		if !errors.Is(err, errNoObject) {
			return err
		}
		if _, none := k.pin(); none != nil {
			return err
		}
		if err = t.login(k.pin); err != nil {
			return err
		}
		public, err = t.publicKey()
		return err
	})
	return public, err
}

// SignMessage hashes the message here and has the token sign the hash. Ed25519
// signs the message itself.
func (k *key) SignMessage(message io.Reader, opts ...signature.SignOption) (sig []byte, err error) {
	var digest []byte
	var signerOpts crypto.SignerOpts = k.hash
	for _, opt := range opts {
		opt.ApplyDigest(&digest)
		opt.ApplyCryptoSignerOpts(&signerOpts)
	}
	var data []byte
	if digest == nil {
		if data, err = io.ReadAll(message); err != nil {
			return nil, fmt.Errorf("read the message: %w", err)
		}
	}
	err = k.with(false, func(t *token) error {
		if err := t.login(k.pin); err != nil {
			return err
		}
		sig, err = t.sign(data, digest, signerOpts.HashFunc())
		return err
	})
	return sig, err
}

// VerifySignature verifies here, with the public key on the token.
func (k *key) VerifySignature(sig, message io.Reader, opts ...signature.VerifyOption) error {
	public, err := k.PublicKey()
	if err != nil {
		return err
	}
	var verifier signature.Verifier
	switch p := public.(type) {
	case *rsa.PublicKey:
		verifier, err = signature.LoadRSAPSSVerifier(p, crypto.SHA256, pssOptions())
	case ed25519.PublicKey:
		verifier, err = signature.LoadED25519Verifier(p)
	default:
		verifier, err = signature.LoadVerifier(public, crypto.SHA256)
	}
	if err != nil {
		return err
	}
	return verifier.VerifySignature(sig, message, opts...)
}

// CreateKey makes a key pair on the token, under the URI's label.
func (k *key) CreateKey(_ context.Context, algorithm string) (public crypto.PublicKey, err error) {
	err = k.with(true, func(t *token) error {
		if err := t.login(k.pin); err != nil {
			return err
		}
		if err := t.create(algorithm); err != nil {
			return err
		}
		public, err = t.publicKey()
		return err
	})
	return public, err
}

// SupportedAlgorithms are the algorithms that CreateKey knows.
func (k *key) SupportedAlgorithms() []string { return algorithmNames() }

// DefaultAlgorithm is one that nearly every token has.
func (k *key) DefaultAlgorithm() string { return "ecdsa-p256" }

// CryptoSigner is no question of the protocol.
func (k *key) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, errors.New("a plugin program has no CryptoSigner")
}
