package repository

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seeded returns the same key for the same number.
func seeded(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func writeKey(t *testing.T, dir, name string, private ed25519.PrivateKey, password []byte) KeyFile {
	t.Helper()
	file, err := WriteKey(dir, name, private, password)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestUnreadableKey has something in the place of a private key that cannot be
// read. The folder opens; the key fails when it is asked for, by its path.
func TestUnreadableKey(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"folder":         func(path string) error { return os.Mkdir(path, 0o700) },
		"dangling link":  func(path string) error { return os.Symlink("nowhere", path) },
		"empty":          func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"no PEM":         func(path string) error { return os.WriteFile(path, []byte("key"), 0o600) },
		"public key":     func(path string) error { return copyFile(strings.TrimSuffix(path, ".key")+".pub", path) },
		"unknown form":   func(path string) error { return os.WriteFile(path, pemOf("OPENSSH PRIVATE KEY", "x"), 0o600) },
		"damaged":        func(path string) error { return os.WriteFile(path, pemOf("PRIVATE KEY", "x"), 0o600) },
		"no permissions": func(path string) error { return os.WriteFile(path, nil, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := writeKey(t, dir, "k", seeded(1), nil)
			if err := os.Remove(file.Path); err != nil {
				t.Fatal(err)
			}
			if err := replace(file.Path); err != nil {
				t.Fatal(err)
			}
			keys := open(t, dir)
			_, err := keys.Signer(t.Context(), file.ID)
			if err == nil || !strings.Contains(err.Error(), file.Path) {
				t.Errorf("got %v, want an error that names %s", err, file.Path)
			}
			if errors.Is(err, ErrNoKey) {
				t.Error("it is taken for a key that is not here")
			}
			if test := SelfTest(t.Context(), keys)[0]; test.OK || test.Error == "" {
				t.Errorf("the self-test passes: %+v", test)
			}
		})
	}
}

func pemOf(kind, content string) []byte {
	return []byte("-----BEGIN " + kind + "-----\n" + fmt.Sprintf("%x", content) + "ab\n-----END " + kind + "-----\n")
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// TestBadPublicHalf has something wrong in the place of NAME.pub: which key it
// is cannot be known, so that the folder does not open.
func TestBadPublicHalf(t *testing.T) {
	for name, content := range map[string]string{
		"empty":       "",
		"private key": string(pemOf("PRIVATE KEY", "x")),
		"damaged":     string(pemOf("PUBLIC KEY", "x")),
		"two keys":    "twice",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := writeKey(t, dir, "k", seeded(1), nil)
			if content == "twice" {
				data, err := os.ReadFile(file.PublicPath())
				if err != nil {
					t.Fatal(err)
				}
				content = string(data) + string(data)
			}
			writeFile(t, file.PublicPath(), content)
			if _, err := OpenKeys([]string{dir}, nil); err == nil || !strings.Contains(err.Error(), file.PublicPath()) {
				t.Errorf("got %v, want an error that names %s", err, file.PublicPath())
			}
		})
	}
	dir := t.TempDir()
	file := writeKey(t, dir, "k", seeded(1), nil)
	if err := os.Remove(file.PublicPath()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys([]string{dir}, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), file.Path) {
		t.Errorf("without it: %v", err)
	}
	if _, err := OpenKeys([]string{filepath.Join(dir, "nowhere")}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the folder: %v", err)
	}
}

// TestPublicHalvesSwapped is two keys of one folder with each other's .pub.
func TestPublicHalvesSwapped(t *testing.T) {
	dir := t.TempDir()
	a, b := writeKey(t, dir, "a", seeded(1), nil), writeKey(t, dir, "b", seeded(2), nil)
	third := filepath.Join(dir, "third")
	for _, move := range [][2]string{{a.PublicPath(), third}, {b.PublicPath(), a.PublicPath()}, {third, b.PublicPath()}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	keys := open(t, dir)
	for _, id := range []string{a.ID, b.ID} {
		_, err := keys.Signer(t.Context(), id)
		wantReason(t, err, ReasonKeyMismatch)
	}
}

// TestSameKeyTwice has one key in two folders: the copy that works signs.
func TestSameKeyTwice(t *testing.T) {
	good, bad := t.TempDir(), t.TempDir()
	file := writeKey(t, good, "k", seeded(1), nil)
	broken := writeKey(t, bad, "k", seeded(1), nil)
	writeFile(t, broken.Path, "")
	for _, dirs := range [][]string{{good, bad}, {bad, good}, {good, good}} {
		keys := open(t, dirs...)
		if len(keys.Files()) != 2 {
			t.Errorf("%d files", len(keys.Files()))
		}
		if err := trySign(t.Context(), keys, file.ID); err != nil {
			t.Error(err)
		}
	}
	keys := open(t, bad)
	if err := trySign(t.Context(), keys, file.ID); err == nil || !strings.Contains(err.Error(), broken.Path) {
		t.Errorf("got %v", err)
	}
	if _, err := keys.Signer(t.Context(), "0123456789abcdef"); !errors.Is(err, ErrNoKey) {
		t.Errorf("a key that is not there: %v", err)
	}
}

// TestDeviceAndCopy has a key in a device that is gone, and its copy in a file.
func TestDeviceAndCopy(t *testing.T) {
	plugins(t)
	dir := t.TempDir()
	file := writeKey(t, dir, "k", seeded(1), nil)
	linkByHand(t, dir, "k", "absent://x", seeded(1).Public())
	if err := trySign(t.Context(), open(t, dir), file.ID); err != nil {
		t.Error(err)
	}
	if err := os.Remove(file.Path); err != nil {
		t.Fatal(err)
	}
	wantReason(t, trySign(t.Context(), open(t, dir), file.ID), ReasonNoKMS)
}

// TestExposedKey warns of a private key that everybody can read, and signs.
func TestExposedKey(t *testing.T) {
	dir := t.TempDir()
	file := writeKey(t, dir, "k", seeded(1), nil)
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if err := os.Chmod(file.Path, mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		keys := open(t, dir)
		keys.Logger = slog.New(slog.NewTextHandler(&log, nil))
		if err := trySign(t.Context(), keys, file.ID); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(log.String(), "can read the private key"); got != want {
			t.Errorf("mode %o: log %q", mode, log.String())
		}
		test := SelfTest(t.Context(), keys)[0]
		if !test.OK || (test.Warning != "") != want {
			t.Errorf("mode %o: self-test %+v", mode, test)
		}
	}
}

// TestGenerateKeyFile makes a key, and overwrites nothing.
func TestGenerateKeyFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	file, err := GenerateKeyFile(dir, "k", ECDSA, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	checkKeyFile(t, file.Path, true)
	for _, lost := range []string{"", file.Path} {
		if err := os.RemoveAll(lost); err != nil {
			t.Fatal(err)
		}
		_, err := GenerateKeyFile(dir, "k", ECDSA, nil)
		wantReason(t, err, ReasonKeyExists)
	}
	for _, name := range []string{"", ".hidden", "../k", "a/b", `a\b`} {
		_, err := GenerateKeyFile(dir, name, ECDSA, nil)
		wantReason(t, err, ReasonKeyName)
	}
	_, err = GenerateKeyFile(dir, "x", "dsa", nil)
	wantReason(t, err, ReasonKeyType)
	linkByHand(t, dir, "linked", "absent://x", seeded(1).Public())
	_, err = GenerateKeyFile(dir, "linked", ECDSA, nil)
	wantReason(t, err, ReasonKeyExists)
}

// TestSelfTest goes on after a key that fails.
func TestSelfTest(t *testing.T) {
	plugins(t)
	dir := t.TempDir()
	private, rest := device(t, ECDSA)
	writeKey(t, dir, "good", seeded(1), nil)
	writeKey(t, dir, "locked", seeded(2), []byte("secret"))
	linkByHand(t, dir, "device", "good"+rest, private.Public())
	linkByHand(t, dir, "liar", "lying"+rest, private.Public())
	keys, err := OpenKeys([]string{dir}, func(string) ([]byte, error) { return []byte("wrong"), nil })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"good.key": "", "locked.key": ReasonWrongPassword, "device.uri": "", "liar.uri": ReasonBadSignature}
	tests := SelfTest(t.Context(), keys)
	if len(tests) != len(want) {
		t.Errorf("%d tests", len(tests))
	}
	for _, test := range tests {
		reason := want[filepath.Base(test.Path)]
		if test.OK != (reason == "") || test.Reason != reason || test.Duration <= 0 {
			t.Errorf("%+v", test)
		}
		if reason != "" {
			wantReason(t, test.Err, reason)
		}
	}
}

// TestMakeKeysLinked takes the key that was linked before as the timestamp
// key, and gives the folder to one repository only.
func TestMakeKeysLinked(t *testing.T) {
	plugins(t)
	dir := t.TempDir()
	plan := KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1}
	private, rest := device(t, ECDSA)
	if _, err := LinkKey(t.Context(), LinkOptions{Dir: dir, Name: Timestamp, URI: "good" + rest}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second goes on where a crash left the first
		roles, err := MakeKeys(dir, plan, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := KeyID(roles[Timestamp].Keys[0]); got != idOf(t, private.Public()) {
			t.Errorf("the timestamp key is %s", got)
		}
	}
	if err := FinishKeys(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "timestamp.key")); err == nil {
		t.Error("a timestamp key was made, too")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	_, err = MakeKeys(dir, plan, nil)
	wantReason(t, err, ReasonExists)
}

func idOf(t *testing.T, public crypto.PublicKey) string {
	t.Helper()
	id, err := KeyID(public)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
