//go:build cgo

package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

// Numbers of PKCS #11 version 3.0 that the binding does not name.
const (
	ckkECEdwards           = 0x40
	ckmECEdwardsKeyPairGen = 0x1055
	ckmEdDSA               = 0x1057
)

// The curves, as DER: CKA_EC_PARAMS of PKCS #11. Ed25519 has two spellings.
var (
	paramsP256        = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	paramsEd25519     = append([]byte{0x13, 0x0c}, "edwards25519"...)
	paramsEd25519ByID = []byte{0x06, 0x03, 0x2b, 0x65, 0x70}
)

// publicKey reads the public key, which most tokens show without a PIN: from
// the public key object, or from the certificate of cards that have but that.
func (t *token) publicKey() (crypto.PublicKey, error) {
	object, err := t.find(pkcs11.CKO_PUBLIC_KEY)
	if errors.Is(err, errNoObject) {
		object, err = t.find(pkcs11.CKO_CERTIFICATE)
		if err != nil {
			return nil, err
		}
		return t.certificateKey(object)
	} else if err != nil {
		return nil, err
	}
	kind, err := t.keyType(object)
	if err != nil {
		return nil, err
	}
	switch kind {
	case pkcs11.CKK_EC, ckkECEdwards:
		return t.ecKey(object)
	case pkcs11.CKK_RSA:
		return t.rsaKey(object)
	}
	return nil, fmt.Errorf("the key is of PKCS #11 type %#x: TUF has EC, Ed25519 and RSA", kind)
}

func (t *token) keyType(object pkcs11.ObjectHandle) (uint, error) {
	value, err := t.attribute(object, pkcs11.CKA_KEY_TYPE)
	if err != nil {
		return 0, err
	}
	return number(value), nil
}

// number decodes a CK_ULONG, which has the machine's size and byte order.
func number(value []byte) uint {
	switch len(value) {
	case 4:
		return uint(binary.NativeEndian.Uint32(value))
	case 8:
		return uint(binary.NativeEndian.Uint64(value))
	}
	return ^uint(0)
}

func (t *token) certificateKey(object pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	der, err := t.attribute(object, pkcs11.CKA_VALUE)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate on the token: %w", err)
	}
	return certificate.PublicKey, nil
}

func (t *token) ecKey(object pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	params, err := t.attribute(object, pkcs11.CKA_EC_PARAMS)
	if err != nil {
		return nil, err
	}
	point, err := t.attribute(object, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	return parsePoint(params, point)
}

// parsePoint decodes a public key on a curve. The point is in an OCTET STRING;
// some tokens leave that away.
func parsePoint(params, point []byte) (crypto.PublicKey, error) {
	var inner []byte
	if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 {
		point = inner
	}
	switch {
	case bytes.Equal(params, paramsP256):
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return nil, fmt.Errorf("the point of the key: %w", err)
		}
		return public, nil
	case bytes.Equal(params, paramsEd25519), bytes.Equal(params, paramsEd25519ByID):
		if len(point) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("the point of the Ed25519 key has %d bytes", len(point))
		}
		return ed25519.PublicKey(point), nil
	}
	return nil, fmt.Errorf("the key is on a curve other than P-256 and Ed25519 (parameters %x)", params)
}

func (t *token) rsaKey(object pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	modulus, err := t.attribute(object, pkcs11.CKA_MODULUS)
	if err != nil {
		return nil, err
	}
	exponent, err := t.attribute(object, pkcs11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return nil, err
	}
	e := new(big.Int).SetBytes(exponent)
	if !e.IsInt64() || e.Int64() > 1<<31-1 {
		return nil, errors.New("the exponent of the RSA key is too large")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(e.Int64())}, nil
}
