//go:build cgo

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"
)

// algorithm says how a key pair is made.
type algorithm struct {
	name      string
	mechanism uint
	public    []*pkcs11.Attribute
}

// algorithms are those whose signatures TUF clients verify.
func algorithms() []algorithm {
	ec := func(params []byte) []*pkcs11.Attribute {
		return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, params)}
	}
	rsa := func(bits uint) []*pkcs11.Attribute {
		return []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, bits),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}),
		}
	}
	return []algorithm{
		{"ecdsa-p256", pkcs11.CKM_EC_KEY_PAIR_GEN, ec(paramsP256)},
		{"ed25519", ckmECEdwardsKeyPairGen, ec(paramsEd25519)},
		{"rsa-2048", pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, rsa(2048)},
		{"rsa-3072", pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, rsa(3072)},
		{"rsa-4096", pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, rsa(4096)},
	}
}

func algorithmNames() []string {
	var names []string
	for _, a := range algorithms() {
		names = append(names, a.name)
	}
	return names
}

// create makes a key pair that cannot leave the token.
func (t *token) create(name string) error {
	var how *algorithm
	for _, a := range algorithms() {
		if a.name == name {
			how = &a
		}
	}
	if how == nil {
		return fmt.Errorf("algorithm %q: use one of %s", name, strings.Join(algorithmNames(), ", "))
	}
	if t.uri.object == "" {
		return errors.New("the URI of a new key needs object=LABEL")
	}
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		if _, err := t.find(class); err == nil {
			return fmt.Errorf("the token holds a key %q already", t.uri.object)
		} else if !errors.Is(err, errNoObject) {
			return err
		}
	}
	id := t.uri.id
	if id == nil {
		id = make([]byte, 8)
		if _, err := rand.Read(id); err != nil {
			return err
		}
	}
	both := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, t.uri.object),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
	}
	public := append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
	}, append(both, how.public...)...)
	private := append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
	}, both...)
	_, _, err := t.module.GenerateKeyPair(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(how.mechanism, nil)}, public, private)
	if err != nil {
		return fmt.Errorf("make a key of %s: %w", name, err)
	}
	return nil
}
