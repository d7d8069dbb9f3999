//go:build cgo

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
)

const (
	module = "/usr/lib/softhsm/libsofthsm2.so"
	pin    = "1234-user"
)

var _ kms.SignerVerifier = (*key)(nil)

// newToken makes a SoftHSM2 token in a temporary folder.
func newToken(t *testing.T, labels ...string) {
	t.Helper()
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		if testing.Short() {
			t.Skip("needs softhsm2")
		}
		t.Fatal("softhsm2-util is missing; to install it: make deps")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	t.Setenv(moduleVariable, module)
	t.Setenv(pinVariable, pin)
	t.Setenv(pinFileVariable, "")
	for _, label := range labels {
		out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "5678-officer").CombinedOutput()
		if err != nil {
			t.Fatalf("softhsm2-util: %v\n%s", err, out)
		}
	}
}

// ask puts one question to the plugin, as sigstore does.
func ask(t *testing.T, uri string, hash crypto.Hash, question *common.MethodArgs, message string) *common.PluginResp {
	t.Helper()
	args, err := json.Marshal(common.PluginArgs{
		InitOptions: &common.InitOptions{ProtocolVersion: common.ProtocolVersion, KeyResourceID: uri, HashFunc: hash, RPCOptions: &common.RPCOptions{}},
		MethodArgs:  question,
	})
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run([]string{"plugin", common.ProtocolVersion, string(args)}, strings.NewReader(message), &stdout, &stderr, os.Getenv); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	var response common.PluginResp
	if err := json.Unmarshal(stdout.Bytes(), &response); err != nil {
		t.Fatalf("%v in %q", err, &stdout)
	}
	return &response
}

func askCreate(algorithm string) *common.MethodArgs {
	return &common.MethodArgs{MethodName: common.CreateKeyMethodName, CreateKey: &common.CreateKeyArgs{Algorithm: algorithm}}
}

func askPublic() *common.MethodArgs {
	return &common.MethodArgs{MethodName: common.PublicKeyMethodName, PublicKey: &common.PublicKeyArgs{PublicKeyOptions: &common.PublicKeyOptions{}}}
}

func askSign() *common.MethodArgs {
	return &common.MethodArgs{MethodName: common.SignMessageMethodName, SignMessage: &common.SignMessageArgs{SignOptions: &common.SignOptions{}}}
}

// TestAlgorithms makes a key of each kind on a token, and verifies what it
// signs with Go's own cryptography.
func TestAlgorithms(t *testing.T) {
	newToken(t, "release")
	for _, name := range algorithmNames() {
		if testing.Short() && strings.HasPrefix(name, "rsa-") && name != "rsa-2048" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			uri := "token=release;object=k%20" + name
			hash := crypto.SHA256
			if name == "ed25519" {
				hash = 0
			}
			made := ask(t, uri, hash, askCreate(name), "")
			if made.ErrorMessage != "" {
				t.Fatal(made.ErrorMessage)
			}
			found := ask(t, uri, hash, askPublic(), "")
			if found.ErrorMessage != "" || !bytes.Equal(found.PublicKey.PublicKeyPEM, made.CreateKey.PublicKeyPEM) {
				t.Fatalf("the key that was made is not the one that is there: %s", found.ErrorMessage)
			}
			public, err := cryptoutils.UnmarshalPEMToPublicKey(found.PublicKey.PublicKeyPEM)
			if err != nil {
				t.Fatal(err)
			}
			signed := ask(t, uri, hash, askSign(), "message")
			if signed.ErrorMessage != "" {
				t.Fatal(signed.ErrorMessage)
			}
			if !verifies(public, "message", signed.SignMessage.Signature) || verifies(public, "other", signed.SignMessage.Signature) {
				t.Errorf("signature %x by %T", signed.SignMessage.Signature, public)
			}
			checkVerify(t, uri, hash, signed.SignMessage.Signature)
			if again := ask(t, uri, hash, askCreate(name), ""); !strings.Contains(again.ErrorMessage, "holds a key") {
				t.Errorf("made twice: %q", again.ErrorMessage)
			}
		})
	}
}

func verifies(public crypto.PublicKey, message string, sig []byte) bool {
	digest := sha256.Sum256([]byte(message))
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, digest[:], sig)
	case ed25519.PublicKey:
		return ed25519.Verify(p, []byte(message), sig)
	case *rsa.PublicKey:
		return rsa.VerifyPSS(p, crypto.SHA256, digest[:], sig, pssOptions()) == nil
	}
	return false
}

// checkVerify lets the plugin verify.
func checkVerify(t *testing.T, uri string, hash crypto.Hash, sig []byte) {
	t.Helper()
	question := &common.MethodArgs{MethodName: common.VerifySignatureMethodName, VerifySignature: &common.VerifySignatureArgs{Signature: sig, VerifyOptions: &common.VerifyOptions{}}}
	if got := ask(t, uri, hash, question, "message"); got.ErrorMessage != "" {
		t.Errorf("the plugin does not verify: %s", got.ErrorMessage)
	}
	if got := ask(t, uri, hash, question, "other"); got.ErrorMessage == "" {
		t.Error("the plugin verifies another message")
	}
}

// TestFailures asks for what cannot be had.
func TestFailures(t *testing.T) {
	newToken(t, "release", "twin", "twin")
	if made := ask(t, "token=release;object=k", crypto.SHA256, askCreate("ecdsa-p256"), ""); made.ErrorMessage != "" {
		t.Fatal(made.ErrorMessage)
	}
	dir := t.TempDir()
	notModule := filepath.Join(dir, "module.so")
	if err := os.WriteFile(notModule, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	const uri = "token=release;object=k"
	for _, c := range []struct {
		name, uri string
		env       [2]string
		question  *common.MethodArgs
		hash      crypto.Hash
		want      string
	}{
		{"no key", "token=release;object=x", [2]string{}, askPublic(), crypto.SHA256, `key "x": not on the token`},
		{"no key to sign", "token=release;id=%05", [2]string{}, askSign(), crypto.SHA256, "key with id 05: not on the token"},
		{"no token", "token=other;object=k", [2]string{}, askSign(), crypto.SHA256, `(token "other"): is it plugged in?`},
		{"two tokens", "token=twin;object=k", [2]string{}, askSign(), crypto.SHA256, "2 tokens match"},
		{"wrong PIN", uri, [2]string{pinVariable, "0000"}, askSign(), crypto.SHA256, "the PIN is wrong"},
		{"no PIN", uri, [2]string{pinVariable, ""}, askSign(), crypto.SHA256, "the token wants a PIN"},
		{"no module", uri, [2]string{moduleVariable, ""}, askSign(), crypto.SHA256, "set " + moduleVariable},
		{"no such module", uri, [2]string{moduleVariable, filepath.Join(dir, "none.so")}, askSign(), crypto.SHA256, "cannot be loaded"},
		{"not a module", uri, [2]string{moduleVariable, notModule}, askSign(), crypto.SHA256, "cannot be loaded"},
		{"another hash", uri, [2]string{}, askSign(), crypto.SHA512, "signs with SHA-256"},
		{"another algorithm", "token=release;object=y", [2]string{}, askCreate("dsa"), crypto.SHA256, "use one of ecdsa-p256"},
		{"no label", "token=release;id=%01", [2]string{}, askCreate("ecdsa-p256"), crypto.SHA256, "needs object=LABEL"},
		{"bad URI", "release", [2]string{}, askSign(), crypto.SHA256, "without a value"},
		{"no arguments", uri, [2]string{}, &common.MethodArgs{MethodName: common.SignMessageMethodName}, crypto.SHA256, "not complete"},
		{"unknown method", uri, [2]string{}, &common.MethodArgs{MethodName: "x"}, crypto.SHA256, "unsupported method"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env[0] != "" {
				t.Setenv(c.env[0], c.env[1])
			}
			if got := ask(t, c.uri, c.hash, c.question, "m").ErrorMessage; !strings.Contains(strings.ToLower(got), strings.ToLower(c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Setenv(pinVariable, "")
	if got := ask(t, uri, crypto.SHA256, askPublic(), "").ErrorMessage; got != "" {
		t.Errorf("the public key wants a PIN: %s", got)
	}
}

// TestWrongArguments has no question at all.
func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{"p"}, {"p", "v1"}, {"p", "--help"}} {
		var stdout, stderr bytes.Buffer
		if code := run(args, nil, &stdout, &stderr, os.Getenv); code != 2 || stderr.Len() == 0 || stdout.Len() != 0 {
			t.Errorf("%q: exit code %d, %q", args, code, &stderr)
		}
	}
	for _, args := range [][]string{{"p", "v9", "{}"}, {"p", "v1", "{}"}, {"p", "v1", "x"}, {"p", "v1", `{"initOptions":{}}`}} {
		var stdout, stderr bytes.Buffer
		if code := run(args, nil, &stdout, &stderr, os.Getenv); code != 0 || !strings.Contains(stdout.String(), "errorMessage") {
			t.Errorf("%q: exit code %d, %q", args, code, &stdout)
		}
	}
}

// TestTwoKeysOfOneLabel needs the id to tell them apart.
func TestTwoKeysOfOneLabel(t *testing.T) {
	newToken(t, "release")
	for _, id := range []string{"%01", "%02"} {
		if made := ask(t, "token=release;object=k;id="+id, crypto.SHA256, askCreate("ecdsa-p256"), ""); made.ErrorMessage != "" {
			t.Fatal(made.ErrorMessage)
		}
	}
	if got := ask(t, "token=release;object=k", crypto.SHA256, askSign(), "m").ErrorMessage; !strings.Contains(got, "more than one key") {
		t.Errorf("got %q", got)
	}
	if got := ask(t, "token=release;object=k;id=%02", crypto.SHA256, askSign(), "m").ErrorMessage; got != "" {
		t.Error(got)
	}
}

// TestAlwaysAuthenticate has a key that wants the PIN for each signature, as
// PIV's signature key does.
func TestAlwaysAuthenticate(t *testing.T) {
	newToken(t, "card")
	uri, err := parseURI("token=card;object=sign")
	if err != nil {
		t.Fatal(err)
	}
	k := &key{uri: uri, hash: crypto.SHA256, getenv: os.Getenv}
	err = k.with(true, func(t *token) error {
		if err := t.login(k.pin); err != nil {
			return err
		}
		label := pkcs11.NewAttribute(pkcs11.CKA_LABEL, "sign")
		stored := pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true)
		_, _, err := t.module.GenerateKeyPair(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
			[]*pkcs11.Attribute{label, stored, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, paramsP256)},
			[]*pkcs11.Attribute{label, stored, pkcs11.NewAttribute(pkcs11.CKA_SIGN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
				pkcs11.NewAttribute(pkcs11.CKA_ALWAYS_AUTHENTICATE, true)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := k.SignMessage(strings.NewReader("m"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := k.PublicKey()
	if err != nil || !verifies(public, "m", sig) {
		t.Errorf("it does not verify: %v", err)
	}
	if _, _, err := k.CryptoSigner(context.Background(), nil); err == nil {
		t.Error("a CryptoSigner")
	}
}

// TestCertificate reads the public key of a card that has but a certificate.
func TestCertificate(t *testing.T) {
	newToken(t, "card")
	private, der := certificate(t)
	uri, err := parseURI("token=card;object=cert")
	if err != nil {
		t.Fatal(err)
	}
	k := &key{uri: uri, hash: crypto.SHA256, getenv: os.Getenv}
	err = k.with(true, func(t *token) error {
		if err := t.login(k.pin); err != nil {
			return err
		}
		_, err := t.module.CreateObject(t.session, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE),
			pkcs11.NewAttribute(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), // seen after login only
			pkcs11.NewAttribute(pkcs11.CKA_SUBJECT, []byte("x")),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, "cert"),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE, der),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if public, err := k.PublicKey(); err != nil || !private.PublicKey.Equal(public) {
		t.Errorf("got %v, %v", public, err)
	}
}
