package repository

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/storage"
)

// TestKeyTypes makes, stores, loads and uses a key of each type, encrypted and
// not, and lets go-tuf verify.
func TestKeyTypes(t *testing.T) {
	for _, keyType := range []KeyType{Ed25519, ECDSA, RSA} {
		private, err := GenerateKey(keyType)
		if err != nil {
			t.Fatal(err)
		}
		for name, password := range map[string][]byte{"plain": nil, "encrypted": []byte("pass word")} {
			t.Run(string(keyType)+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				file, err := WriteKey(dir, "k", private, password)
				if err != nil {
					t.Fatal(err)
				}
				if file.Type != keyType {
					t.Errorf("type %s", file.Type)
				}
				checkKeyFile(t, file.Path, password != nil)
				keys, err := OpenKeys([]string{dir}, func(string) ([]byte, error) { return password, nil })
				if err != nil {
					t.Fatal(err)
				}
				checkSigns(t, keys, file.ID, private.Public())
			})
		}
	}
}

func checkKeyFile(t *testing.T, path string, encrypted bool) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", path, info.Mode())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Contains(data, []byte("ENCRYPTED SIGSTORE PRIVATE KEY")); got != encrypted {
		t.Errorf("encrypted: %v, want %v", got, encrypted)
	}
}

// checkSigns signs a root whose root key is the public one.
func checkSigns(t *testing.T, keys Signers, id string, public crypto.PublicKey) {
	t.Helper()
	signer, err := keys.Signer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := tufKey(public)
	if err != nil {
		t.Fatal(err)
	}
	root := tuf.Root(start)
	if err := root.Signed.AddKey(key, Root); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Sign(signer); err != nil {
		t.Fatal(err)
	}
	if err := root.VerifyDelegate(Root, root); err != nil {
		t.Error(err)
	}
}

func TestKeysRefused(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string]crypto.PublicKey{
		"P-384": p384.Public(), "RSA 1024": small.Public(), "another type": "key", "nil": nil,
	} {
		_, err := TypeOf(public)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		wantReason(t, err, ReasonKeyType)
	}
	if _, err := NewSigner(p384); err == nil {
		t.Error("a P-384 signer")
	}
	if _, err := GenerateKey("dsa"); err == nil {
		t.Error("a DSA key")
	}
}

func TestWrongPassword(t *testing.T) {
	dir := t.TempDir()
	file, err := WriteKey(dir, "k", ed25519.NewKeyFromSeed(make([]byte, 32)), []byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	noPassword := errors.New("no password")
	for _, c := range []struct {
		name     string
		password PasswordFunc
		want     error
	}{
		{"wrong", func(string) ([]byte, error) { return []byte("left"), nil }, nil},
		{"empty", func(string) ([]byte, error) { return nil, nil }, nil},
		{"none", func(string) ([]byte, error) { return nil, &PasswordError{noPassword} }, noPassword},
	} {
		keys, err := OpenKeys([]string{dir}, c.password)
		if err != nil {
			t.Fatal(err)
		}
		_, err = keys.Signer(t.Context(), file.ID)
		if c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		} else if c.want == nil {
			wantReason(t, err, ReasonWrongPassword)
		}
	}
}

// TestSwappedPublicKey puts another public key beside a private one.
func TestSwappedPublicKey(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"a", "b"} {
		if _, err := WriteKey(dir, name, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i)}, 32)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(dir, "b.pub"), filepath.Join(dir, "a.pub")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys([]string{dir}, nil); err == nil || !strings.Contains(err.Error(), "b.pub") {
		t.Errorf("b without its public half: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "b.key")); err != nil {
		t.Fatal(err)
	}
	keys, err := OpenKeys([]string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Signer(t.Context(), keys.Files()[0].ID); err == nil {
		t.Error("the wrong private key is accepted")
	}
}

// TestSignReplaces signs twice with the same key: go-tuf's Sign alone would
// make metadata that no client can load.
func TestSignReplaces(t *testing.T) {
	r, keys := newRepo(t)
	st, err := load(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.authority(Root, Root)
	if err != nil {
		t.Fatal(err)
	}
	signers, err := a.signers(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := sign(st.root, signers); err != nil {
			t.Fatal(err)
		}
	}
	data, err := st.root.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse[tuf.RootType](data)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Signatures) != 1 {
		t.Errorf("%d signatures", len(again.Signatures))
	}
}

// TestKeyID compares with the definition: SHA-256 of the canonical JSON.
func TestKeyID(t *testing.T) {
	public := ed25519.NewKeyFromSeed(make([]byte, 32)).Public()
	id, err := KeyID(public)
	if err != nil {
		t.Fatal(err)
	}
	const canonical = `{"keytype":"ed25519","keyval":{"public":"3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"},"scheme":"ed25519"}`
	if sum := sha256.Sum256([]byte(canonical)); id != string(hexOf(sum[:])) {
		t.Errorf("key id %s", id)
	}
}

func hexOf(b []byte) []byte {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return out
}

func TestMakeKeysRefusals(t *testing.T) {
	for _, plan := range []KeyPlan{
		{Type: Ed25519, RootKeys: 0, RootThreshold: 1}, {Type: Ed25519, RootKeys: 1, RootThreshold: 0}, {Type: Ed25519, RootKeys: 2, RootThreshold: 3},
		{Type: Ed25519, RootKeys: 1, RootThreshold: 1, More: map[string]KeyCount{Targets: {1, 2}}},
	} {
		_, err := MakeKeys(t.TempDir(), plan, nil)
		wantReason(t, err, ReasonThreshold)
	}
	plan := KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1}
	_, _, dir := fixedKeys(t, plan)
	_, err := MakeKeys(dir, plan, nil)
	wantReason(t, err, ReasonExists)
}

// TestMakeKeysResumes stops after some keys; the second attempt keeps them.
func TestMakeKeysResumes(t *testing.T) {
	dir := t.TempDir()
	plan := KeyPlan{Type: Ed25519, RootKeys: 2, RootThreshold: 2}
	first, err := MakeKeys(dir, plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "timestamp.key")); err != nil {
		t.Fatal(err)
	}
	second, err := MakeKeys(dir, plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !first[Root].Keys[1].(ed25519.PublicKey).Equal(second[Root].Keys[1]) {
		t.Error("root-2 was made again")
	}
	if first[Timestamp].Keys[0].(ed25519.PublicKey).Equal(second[Timestamp].Keys[0]) {
		t.Error("timestamp was not made again")
	}
}

func TestCreateRefusals(t *testing.T) {
	roles, keys, _ := fixedKeys(t, KeyPlan{Type: Ed25519, RootKeys: 2, RootThreshold: 2})
	change := func(role string, k RoleKeys) map[string]RoleKeys {
		changed := map[string]RoleKeys{}
		for r, v := range roles {
			changed[r] = v
		}
		changed[role] = k
		return changed
	}
	root := roles[Root].Keys
	for _, c := range []struct {
		name, reason string
		roles        map[string]RoleKeys
	}{
		{"threshold 0", ReasonThreshold, change(Root, RoleKeys{root, 0})},
		{"threshold too high", ReasonThreshold, change(Root, RoleKeys{root, 3})},
		{"no keys", ReasonThreshold, change(Targets, RoleKeys{nil, 1})},
		{"same key twice", ReasonDuplicateKey, change(Root, RoleKeys{[]crypto.PublicKey{root[0], root[0]}, 2})},
		{"private key missing", ReasonNotEnoughKeys, change(Targets, RoleKeys{[]crypto.PublicKey{ed25519.NewKeyFromSeed(make([]byte, 32)).Public()}, 1})},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := Create(t.Context(), storage.NewFolder(dir), CreateOptions{Options: at(start), Roles: c.roles, Keys: keys})
			wantReason(t, err, c.reason)
			if _, err := os.Stat(filepath.Join(dir, "metadata")); err == nil {
				t.Error("something was written")
			}
		})
	}
	r, keys2 := newRepo(t)
	_, err := Create(t.Context(), storage.NewFolder(r.Place()), CreateOptions{Options: at(start), Roles: roles, Keys: keys2})
	wantReason(t, err, ReasonExists)
}
