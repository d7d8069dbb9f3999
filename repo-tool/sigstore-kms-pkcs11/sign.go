//go:build cgo

package main

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

func pssOptions() *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
}

// sign signs a message, or its digest if the caller has computed that.
func (t *token) sign(message, digest []byte, hash crypto.Hash) ([]byte, error) {
	private, err := t.find(pkcs11.CKO_PRIVATE_KEY)
	if err != nil {
		return nil, err
	}
	kind, err := t.keyType(private)
	if err != nil {
		return nil, err
	}
	if kind == ckkECEdwards {
		if digest != nil {
			return nil, errors.New("Ed25519 signs a message, not its digest")
		}
		return t.signWith(private, pkcs11.NewMechanism(ckmEdDSA, nil), message)
	}
	if hash != crypto.SHA256 {
		return nil, fmt.Errorf("hash %v: this plugin signs with SHA-256", hash)
	}
	if digest == nil {
		sum := sha256.Sum256(message)
		digest = sum[:]
	} else if len(digest) != sha256.Size {
		return nil, fmt.Errorf("a digest of %d bytes is not of SHA-256", len(digest))
	}
	switch kind {
	case pkcs11.CKK_EC:
		raw, err := t.signWith(private, pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil), digest)
		if err != nil {
			return nil, err
		}
		return ecdsaASN1(raw)
	case pkcs11.CKK_RSA:
		params := pkcs11.NewPSSParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, sha256.Size)
		return t.signWith(private, pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, params), digest)
	}
	return nil, errors.New("the private key is none of EC, Ed25519 and RSA")
}

// signWith runs one signature. A key that wants the PIN for each one, such as
// that of PIV's slot 9c, gets it.
func (t *token) signWith(private pkcs11.ObjectHandle, mechanism *pkcs11.Mechanism, data []byte) ([]byte, error) {
	if err := t.module.SignInit(t.session, []*pkcs11.Mechanism{mechanism}, private); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	// Tokens that do not know the attribute never ask.
	if always, err := t.attribute(private, pkcs11.CKA_ALWAYS_AUTHENTICATE); err == nil && len(always) == 1 && always[0] != 0 {
		if err := t.module.Login(t.session, pkcs11.CKU_CONTEXT_SPECIFIC, t.pin); err != nil {
			return nil, fmt.Errorf("PIN for this signature: %w", err)
		}
	}
	sig, err := t.module.Sign(t.session, data)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return sig, nil
}

// ecdsaASN1 turns the signature of PKCS #11 (r and s, each of the curve's
// length) into that of TUF and X.509 (a SEQUENCE of two INTEGERs).
func ecdsaASN1(raw []byte) ([]byte, error) {
	if len(raw) != 64 {
		return nil, fmt.Errorf("the token's ECDSA signature has %d bytes, and not the 64 of P-256", len(raw))
	}
	return asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(raw[:32]),
		new(big.Int).SetBytes(raw[32:]),
	})
}
