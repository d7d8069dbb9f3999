package repository

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

const formPassword = "pass word"

// openssl runs the program, which scripts/deps installs.
func openssl(t *testing.T, args ...string) {
	t.Helper()
	if testing.Short() {
		if _, err := exec.LookPath("openssl"); err != nil {
			t.Skip("needs openssl")
		}
	}
	if out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s(to install it: make deps)", strings.Join(args, " "), err, out)
	}
}

// TestForms loads private keys as other programs write them, and signs with
// each.
func TestForms(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	pass := "pass:" + formPassword
	openssl(t, "genpkey", "-algorithm", "ed25519", "-out", at("ed25519.key"))
	openssl(t, "ecparam", "-name", "prime256v1", "-genkey", "-out", at("ecdsa-with-parameters.key"))
	openssl(t, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", at("ecdsa-sec1.key"))
	openssl(t, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", at("ecdsa.key"))
	openssl(t, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", at("rsa.key"))
	openssl(t, "rsa", "-traditional", "-in", at("rsa.key"), "-out", at("rsa-pkcs1.key"))
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		topk8 := []string{"pkcs8", "-topk8", "-in", at(kind + ".key"), "-passout", pass}
		openssl(t, append(topk8, "-out", at(kind+"-pkcs8.key"))...)
		openssl(t, append(topk8, "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1", "-out", at(kind+"-aes128.key"))...)
		openssl(t, append(topk8, "-v2", "des3", "-out", at(kind+"-des3.key"))...)
		openssl(t, append(topk8, "-scrypt", "-out", at(kind+"-scrypt.key"))...)
	}
	openssl(t, "rsa", "-traditional", "-aes256", "-in", at("rsa.key"), "-out", at("rsa-dek.key"), "-passout", pass)
	openssl(t, "ec", "-aes256", "-in", at("ecdsa.key"), "-out", at("ecdsa-dek.key"), "-passout", pass)
	names, err := filepath.Glob(at("*.key"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 6+3*4+2 {
		t.Fatalf("%d keys", len(names))
	}
	for _, name := range names {
		openssl(t, "pkey", "-in", name, "-passin", pass, "-pubout", "-out", KeyFile{Path: name}.PublicPath())
		checkForm(t, name)
	}
}

// checkForm signs with the key, and not with a wrong password.
func checkForm(t *testing.T, path string) {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(path), ".key")
	t.Run(name, func(t *testing.T) {
		file, err := readKeyFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if kind, _, _ := strings.Cut(name, "-"); string(file.Type) != kind {
			t.Errorf("type %s", file.Type)
		}
		asked := false
		password := func(string) ([]byte, error) {
			asked = true
			return []byte(formPassword), nil
		}
		private, err := readPrivateKey(file, password)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := private.signer(t.Context()).SignMessage(strings.NewReader("m"))
		if err != nil {
			t.Fatal(err)
		}
		public, err := LoadPublicKey(file.PublicPath())
		if err != nil {
			t.Fatal(err)
		}
		if err := verifySignature(public, []byte("m"), sig); err != nil {
			t.Error(err)
		}
		if !asked {
			return // it is not encrypted
		}
		for _, wrong := range []string{"wrong", ""} {
			_, err := readPrivateKey(file, func(string) ([]byte, error) { return []byte(wrong), nil })
			wantReason(t, err, ReasonWrongPassword)
		}
		if _, err := readPrivateKey(file, nil); err == nil || !strings.Contains(err.Error(), "no password is given") {
			t.Errorf("without a password: %v", err)
		}
	})
}

// TestSigstoreForms loads what sigstore and cosign write. The other types of
// keys are in the same PKCS#8 once decrypted.
func TestSigstoreForms(t *testing.T) {
	for _, kind := range []string{"ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"} {
		dir := t.TempDir()
		file := writeKey(t, dir, "ed25519-"+kind, seeded(1), nil)
		der, err := cryptoutils.MarshalPrivateKeyToEncryptedDER(seeded(1), cryptoutils.StaticPasswordFunc([]byte(formPassword)))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, file.Path, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
		checkForm(t, file.Path)
	}
}

// TestFormsRefused has keys that no client can verify, and encryptions that
// are not known: that is not called a wrong password.
func TestFormsRefused(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, args := range map[string][]string{
		"p384":    {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"},
		"rsa1024": {"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"},
		"x25519":  {"genpkey", "-algorithm", "X25519"},
	} {
		openssl(t, append(args, "-out", at(name+".key"))...)
		openssl(t, "pkey", "-in", at(name+".key"), "-pubout", "-out", at(name+".pub"))
		_, err := LoadPublicKey(at(name + ".pub"))
		wantReason(t, err, ReasonKeyType)
		if _, err := OpenKeys([]string{dir}, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if err := os.Remove(at(name + ".key")); err != nil {
			t.Fatal(err)
		}
	}
	openssl(t, "genpkey", "-algorithm", "ed25519", "-out", at("plain"))
	openssl(t, "pkcs8", "-topk8", "-in", at("plain"), "-v1", "PBE-SHA1-3DES", "-passout", "pass:"+formPassword, "-out", at("pbes1.key"))
	data, err := os.ReadFile(at("pbes1.key"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parsePrivate(data, func() ([]byte, error) { return []byte(formPassword), nil })
	var refused *RefusedError
	if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "PBES2") {
		t.Errorf("PBES1: %v", err)
	}
}

// FuzzParsePrivate wants an error or a key, and never a panic: youmark/pkcs8
// panics on a ciphertext of a wrong length.
func FuzzParsePrivate(f *testing.F) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	plain, err := encodePrivate(private, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add([]byte(pkcs8AES256))
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := parsePrivate(data, func() ([]byte, error) { return []byte(formPassword), nil })
		if _, ok := key.(crypto.Signer); err == nil && !ok && key == nil {
			t.Error("neither a key nor an error")
		}
	})
}

// pkcs8AES256 is a key of openssl, with one round of PBKDF2.
const pkcs8AES256 = `-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGaMFYGCSqGSIb3DQEFDTBJMCgGCSqGSIb3DQEFDDAbBAh8v7XTj6T+VwIBATAM
BggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQkFAbu0JcmQh41sLJuDqacARAczsq
hgkgoU5F4MeRmbww3IH7X5fYhd20cLOkbDI+dwnkV454aEYwsBvqj3Jsyu3gJ6eT
lE0ptKaFtG1ovXzNeQ==
-----END ENCRYPTED PRIVATE KEY-----
`

// TestCutPKCS8 has encrypted keys that are damaged: cut, changed at every
// byte, and with a ciphertext or an initialisation vector of a wrong length,
// which make the library panic.
func TestCutPKCS8(t *testing.T) {
	block, _ := pem.Decode([]byte(pkcs8AES256))
	parse := func(der []byte) error {
		_, err := parsePrivate(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), func() ([]byte, error) { return []byte(formPassword), nil })
		return err
	}
	if err := parse(block.Bytes); err != nil {
		t.Fatal(err)
	}
	for n := range block.Bytes {
		if err := parse(block.Bytes[:n]); err == nil {
			t.Errorf("cut after %d bytes: a key", n)
		}
		changed := bytes.Clone(block.Bytes)
		changed[n]++
		_ = parse(changed)
	}
	var outer struct {
		Algorithm asn1.RawValue
		Data      []byte
	}
	if _, err := asn1.Unmarshal(block.Bytes, &outer); err != nil {
		t.Fatal(err)
	}
	outer.Data = outer.Data[:len(outer.Data)-1]
	der, err := asn1.Marshal(outer)
	if err != nil {
		t.Fatal(err)
	}
	if err := parse(der); err == nil || !strings.Contains(err.Error(), "the file is damaged") {
		t.Errorf("a ciphertext of no whole blocks: %v", err)
	}
}
