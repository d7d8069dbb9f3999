package repository

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckURI(t *testing.T) {
	for uri, want := range map[string]string{
		"awskms:///arn:aws:kms:us-east-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab": "awskms",
		"awskms://localhost:4566/alias/a":                            "awskms",
		"gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k":    "gcpkms",
		"azurekms://vault.vault.azure.net/key":                       "azurekms",
		"hashivault://release":                                       "hashivault",
		"pkcs11:token=release;object=timestamp":                      "pkcs11",
		"pkcs11://token=release;object=timestamp?module-path=/lib/a": "pkcs11",
		"pkcs11:object=pin;pin-source=file:/etc/pin":                 "pkcs11",
		"my-hsm:///a:b://c, d=e":                                     "my-hsm",
		"localkms:///home/user@host:x/key.pem":                       "localkms",
	} {
		if got, err := checkURI(uri); err != nil || got != want {
			t.Errorf("%s: scheme %q, %v", uri, got, err)
		}
	}
	for _, uri := range []string{
		"", "key.pem", "/keys/a.key", "C:\\keys\\a.key", "a/b://c", "../x://y", "AWSKMS:///alias/a",
		"awskms:alias/a", "awskms://", "awskms:///", "pkcs11:", "awskms:///alias/a\nawskms:///alias/b", "x://\x1b[2J",
	} {
		_, err := checkURI(uri)
		wantReason(t, err, ReasonKeyURI)
	}
}

// TestSecretInURI refuses a PIN in a URI, and does not repeat it.
func TestSecretInURI(t *testing.T) {
	for _, uri := range []string{
		"pkcs11:token=release?pin-value=S3CRET",
		"pkcs11:token=release;pin-value=S3CRET",
		"pkcs11://token=release?module-path=/a&PIN-VALUE=S3CRET",
		"pkcs11:pin-value=S3CRET",
		"my-hsm://slot/key?password=S3CRET",
		"hashivault://user:S3CRET@vault/key",
		"pin-value=S3CRET", // no URI at all
		"pkcs11:token=a?pin-value=S3CRET\n",
	} {
		_, err := LinkKey(t.Context(), LinkOptions{Dir: t.TempDir(), Name: "k", URI: uri})
		wantReason(t, err, ReasonKeyURI)
		if strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%q shows the secret", err)
		}
		dir := t.TempDir()
		linkByHand(t, dir, "k", uri, seeded(1).Public())
		_, err = OpenKeys([]string{dir}, nil)
		wantReason(t, err, ReasonKeyURI)
		if strings.Contains(err.Error(), "S3CRET") || !strings.Contains(err.Error(), filepath.Join(dir, "k.uri")) {
			t.Errorf("got %q", err)
		}
	}
}

func TestEmptyURIFile(t *testing.T) {
	dir := t.TempDir()
	linkByHand(t, dir, "k", "", seeded(1).Public())
	if _, err := OpenKeys([]string{dir}, nil); err == nil || !strings.Contains(err.Error(), "the file is empty") {
		t.Errorf("got %v", err)
	}
}

// TestLinkOverPublicKey has a NAME.pub in the folder already: of this key, it
// is what a crash left; of another, it is refused.
func TestLinkOverPublicKey(t *testing.T) {
	plugins(t)
	private, rest := device(t, Ed25519)
	other, _ := device(t, Ed25519)
	dir := t.TempDir()
	opts := LinkOptions{Dir: dir, Name: "k", URI: "good" + rest}
	if err := writePublic(KeyFile{Path: filepath.Join(dir, "k.uri")}, other.Public()); err != nil {
		t.Fatal(err)
	}
	_, err := LinkKey(t.Context(), opts)
	wantReason(t, err, ReasonKeyExists)
	if err := writePublic(KeyFile{Path: filepath.Join(dir, "k.uri")}, private.Public()); err != nil {
		t.Fatal(err)
	}
	if _, err := LinkKey(t.Context(), opts); err != nil {
		t.Error(err)
	}
}

func TestSigstoreURI(t *testing.T) {
	for uri, want := range map[string]string{
		"pkcs11:token=a":   "pkcs11://token=a",
		"pkcs11://token=a": "pkcs11://token=a",
		"awskms:///a":      "awskms:///a",
	} {
		if got := sigstoreURI(uri); got != want {
			t.Errorf("%s: %s", uri, got)
		}
	}
}

func FuzzCheckURI(f *testing.F) {
	f.Add("pkcs11:token=release?pin-value=S3CRET")
	f.Add("awskms:///arn:aws:kms:us-east-2:1:key/1")
	f.Fuzz(func(t *testing.T, uri string) {
		scheme, err := checkURI(uri)
		if err == nil && (strings.ContainsAny(scheme, "/\\") || strings.Contains(strings.ToLower(uri), ";pin-value=")) {
			t.Errorf("%q is accepted, with scheme %q", uri, scheme)
		}
	})
}
