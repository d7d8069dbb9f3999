//go:build cgo

package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"testing"
)

func certificate(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return private, der
}

// TestParsePoint reads points in an OCTET STRING and without one: tokens
// differ.
func TestParsePoint(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	edwards := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	wrap := func(b []byte) []byte {
		der, err := asn1.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for _, p := range [][]byte{point, wrap(point)} {
		if public, err := parsePoint(paramsP256, p); err != nil || !private.PublicKey.Equal(public) {
			t.Errorf("P-256: %v, %v", public, err)
		}
	}
	for _, params := range [][]byte{paramsEd25519, paramsEd25519ByID} {
		for _, p := range [][]byte{edwards, wrap(edwards)} {
			if public, err := parsePoint(params, p); err != nil || !edwards.Equal(public) {
				t.Errorf("Ed25519: %v, %v", public, err)
			}
		}
	}
	p384 := []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}
	for _, c := range [][2][]byte{{p384, point}, {paramsP256, point[1:]}, {paramsP256, edwards}, {paramsEd25519, point}, {nil, nil}} {
		if public, err := parsePoint(c[0], c[1]); err == nil {
			t.Errorf("%x %x: %v", c[0], c[1], public)
		}
	}
}

func TestECDSAASN1(t *testing.T) {
	raw := make([]byte, 64)
	raw[31], raw[32] = 1, 0x80 // r is 1; s has its highest bit set
	der, err := ecdsaASN1(raw)
	if err != nil {
		t.Fatal(err)
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil || sig.R.Int64() != 1 || sig.S.BitLen() != 256 || sig.S.Sign() < 0 {
		t.Errorf("%x: %v", der, err)
	}
	for _, n := range []int{0, 63, 65, 96} {
		if _, err := ecdsaASN1(make([]byte, n)); err == nil {
			t.Errorf("%d bytes", n)
		}
	}
}
