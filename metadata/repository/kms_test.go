package repository

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

// TestMain makes the test binary a plugin program when it is called by the
// name of one.
func TestMain(m *testing.M) {
	if behaviour, found := strings.CutPrefix(filepath.Base(os.Args[0]), cliplugin.PluginBinaryPrefix); found {
		plugin(behaviour)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// plugin is a plugin program whose key is in the file that the URI names. It
// behaves as its name says.
func plugin(behaviour string) {
	switch behaviour {
	case "failing":
		fmt.Fprintln(os.Stderr, "the device is on fire")
		os.Exit(3)
	case "empty":
		fmt.Print("{}")
		return
	case "silent":
		return
	case "hanging":
		// The child holds the output open when the program itself is killed.
		child := exec.Command("sleep", "2")
		child.Stdout = os.Stdout
		_ = child.Run()
		return
	}
	args, err := handler.GetPluginArgs(os.Args)
	if err != nil {
		panic(err)
	}
	impl, err := newPluginKey(behaviour, "/"+strings.TrimPrefix(args.InitOptions.KeyResourceID, "/"), args.InitOptions.HashFunc)
	if err != nil {
		_ = handler.WriteErrorResponse(os.Stdout, err)
		return
	}
	if _, err := handler.Dispatch(os.Stdout, os.Stdin, args, impl); err != nil {
		panic(err)
	}
}

// pluginKey is what the plugin program answers.
type pluginKey struct {
	kms.SignerVerifier // nil: what is not below is not called

	behaviour string
	path      string
	signer    signature.Signer
	private   crypto.PrivateKey
	hash      crypto.Hash
}

func newPluginKey(behaviour, path string, hash crypto.Hash) (*pluginKey, error) {
	k := &pluginKey{behaviour: behaviour, path: path, hash: hash}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil // it may be about to be made
	} else if err != nil {
		return nil, err
	}
	if k.private, err = cryptoutils.UnmarshalPEMToPrivateKey(data, nil); err != nil {
		return nil, err
	}
	if _, isRSA := k.private.(*rsa.PrivateKey); isRSA && behaviour != "pkcs1" {
		k.signer, err = NewSigner(k.private)
	} else {
		k.signer, err = signature.LoadSigner(k.private, hash)
	}
	return k, err
}

func (k *pluginKey) PublicKey(opts ...signature.PublicKeyOption) (crypto.PublicKey, error) {
	if k.signer == nil {
		return nil, fmt.Errorf("no key %s", k.path)
	}
	return k.signer.PublicKey(opts...)
}

func (k *pluginKey) CreateKey(_ context.Context, algorithm string) (crypto.PublicKey, error) {
	private, err := GenerateKey(KeyType(algorithm))
	if err != nil {
		return nil, err
	}
	data, err := encodePrivate(private, nil)
	if err != nil {
		return nil, err
	}
	return private.Public(), os.WriteFile(k.path, data, 0o600)
}

func (k *pluginKey) SignMessage(message io.Reader, _ ...signature.SignOption) ([]byte, error) {
	switch k.behaviour {
	case "locked":
		return nil, errors.New("the device is locked")
	case "lying":
		message = strings.NewReader("something else")
	case "salty":
		data, err := io.ReadAll(message)
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256(data)
		return rsa.SignPSS(rand.Reader, k.private.(*rsa.PrivateKey), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
	case "raw":
		data, err := io.ReadAll(message)
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256(data)
		r, s, err := ecdsa.Sign(nil, k.private.(*ecdsa.PrivateKey), digest[:])
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
	}
	if _, edwards := k.private.(ed25519.PrivateKey); edwards && k.hash != 0 {
		return nil, errors.New("was asked to sign a hash with Ed25519") // as Vault would
	}
	return k.signer.SignMessage(message)
}

// plugins puts the test binary on PATH under the names of plugin programs.
func plugins(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"good", "lying", "raw", "salty", "pkcs1", "locked", "failing", "empty", "silent", "hanging"} {
		if err := os.Symlink(self, filepath.Join(dir, cliplugin.PluginBinaryPrefix+name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// device writes a private key to where the plugin program looks for it, and
// returns its URI without the scheme. The folder's name has a colon.
func device(t *testing.T, keyType KeyType) (private crypto.Signer, rest string) {
	t.Helper()
	private, err := GenerateKey(keyType)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a:b, c=d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	data, err := encodePrivate(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "device.pem")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return private, "://" + path
}

// linkByHand writes NAME.uri and NAME.pub without asking anybody.
func linkByHand(t *testing.T, dir, name, uri string, public crypto.PublicKey) KeyFile {
	t.Helper()
	file, err := keyFile(filepath.Join(dir, name+uriSuffix), public)
	if err != nil {
		t.Fatal(err)
	}
	if err := writePublic(file, public); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file.Path, uri+"\n")
	file.URI = uri
	return file
}

func open(t *testing.T, dirs ...string) *KeyDir {
	t.Helper()
	keys, err := OpenKeys(dirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestKMS links a key of each type and lets go-tuf verify what it signs.
func TestKMS(t *testing.T) {
	plugins(t)
	for _, keyType := range []KeyType{Ed25519, ECDSA, RSA} {
		t.Run(string(keyType), func(t *testing.T) {
			private, rest := device(t, keyType)
			dir := filepath.Join(t.TempDir(), "new")
			file, err := LinkKey(t.Context(), LinkOptions{Dir: dir, Name: "k", URI: "good" + rest})
			if err != nil {
				t.Fatal(err)
			}
			keys := open(t, dir)
			if len(keys.Files()) != 1 || keys.Files()[0] != file || file.Type != keyType {
				t.Errorf("files %+v, linked %+v", keys.Files(), file)
			}
			checkSigns(t, keys, file.ID, private.Public())
			if _, err := LinkKey(t.Context(), LinkOptions{Dir: dir, Name: "k", URI: "good" + rest}); err == nil {
				t.Error("linked twice")
			} else {
				wantReason(t, err, ReasonKeyExists)
			}
		})
	}
}

// TestKMSCreate makes the key in the device first.
func TestKMSCreate(t *testing.T) {
	plugins(t)
	dir := t.TempDir()
	uri := "good://" + filepath.Join(dir, "device.pem")
	opts := LinkOptions{Dir: dir, Name: "k", URI: uri}
	if _, err := LinkKey(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("linked a key that is not there: %v", err)
	}
	opts.Create = "ecdsa"
	file, err := LinkKey(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if file.Type != ECDSA {
		t.Errorf("type %s", file.Type)
	}
}

// TestKMSFailures uses keys whose KMS misbehaves. None of them may sign, and
// none is linked.
func TestKMSFailures(t *testing.T) {
	plugins(t)
	for _, c := range []struct {
		scheme  string
		keyType KeyType
		reason  string // "" for a plain failure
		text    string
	}{
		{"lying", Ed25519, ReasonBadSignature, "does not verify with"},
		{"lying", ECDSA, ReasonBadSignature, "clients want ECDSA on P-256 with SHA-256, in ASN.1"},
		{"raw", ECDSA, ReasonBadSignature, "in ASN.1"},
		{"salty", RSA, ReasonBadSignature, "a salt of 32 bytes"},
		{"pkcs1", RSA, ReasonBadSignature, "RSASSA-PSS with SHA-256"},
		{"locked", Ed25519, "", "program sigstore-kms-locked: plugin returned error: the device is locked"},
		{"failing", Ed25519, "", "sigstore-kms-failing gave no answer that makes sense; what it wrote to the error output says more"},
		{"empty", Ed25519, "", "its answer lacks what was asked for"},
		{"silent", Ed25519, "", "sigstore-kms-silent gave no answer"},
		{"absent", Ed25519, ReasonNoKMS, "sigstore-kms-absent"},
		{"awskms", ECDSA, ReasonNoKMS, "sigstore-kms-awskms"},
	} {
		t.Run(c.scheme+" "+string(c.keyType), func(t *testing.T) {
			private, rest := device(t, c.keyType)
			dir := t.TempDir()
			file := linkByHand(t, dir, "k", c.scheme+rest, private.Public())
			check := func(err error) {
				t.Helper()
				if err == nil {
					t.Fatal("no error")
				}
				if c.reason != "" {
					wantReason(t, err, c.reason)
				}
				if !strings.Contains(err.Error(), c.text) {
					t.Errorf("error %q lacks %q", err, c.text)
				}
			}
			check(trySign(t.Context(), open(t, dir), file.ID))
			empty := t.TempDir()
			_, err := LinkKey(t.Context(), LinkOptions{Dir: empty, Name: "k", URI: file.URI})
			check(err)
			if left, _ := os.ReadDir(empty); len(left) > 0 {
				t.Errorf("%s was written", left[0].Name())
			}
		})
	}
}

// trySign signs something with the key.
func trySign(ctx context.Context, keys Signers, id string) error {
	signer, err := keys.Signer(ctx, id)
	if err != nil {
		return err
	}
	return signSomething(signer)
}

func signSomething(signer signature.Signer) error {
	_, err := signer.SignMessage(strings.NewReader("something"))
	return err
}

// TestKMSOtherKey has another key in the device than the one beside the URI:
// that is found before anything is signed.
func TestKMSOtherKey(t *testing.T) {
	plugins(t)
	_, rest := device(t, Ed25519)
	other, _ := device(t, Ed25519)
	dir := t.TempDir()
	file := linkByHand(t, dir, "k", "good"+rest, other.Public())
	_, err := open(t, dir).Signer(t.Context(), file.ID)
	wantReason(t, err, ReasonKeyMismatch)
	if !strings.Contains(err.Error(), shortID(file.ID)) {
		t.Errorf("%v does not name the key", err)
	}
}

// TestKMSHangs gives up, though a child of the plugin keeps its output open.
func TestKMSHangs(t *testing.T) {
	plugins(t)
	private, rest := device(t, Ed25519)
	dir := t.TempDir()
	file := linkByHand(t, dir, "k", "hanging"+rest, private.Public())
	keys := open(t, dir)
	keys.Timeout = 50 * time.Millisecond
	begin := time.Now()
	err := trySign(t.Context(), keys, file.ID)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("got %v", err)
	}
	keys.Timeout = 0
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := trySign(ctx, keys, file.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("gave up after %v", took)
	}
}

// TestKMSContext asks for the same signer with two contexts: the first, which
// has ended, must not stop the second.
func TestKMSContext(t *testing.T) {
	plugins(t)
	private, rest := device(t, Ed25519)
	dir := t.TempDir()
	file := linkByHand(t, dir, "k", "good"+rest, private.Public())
	keys := open(t, dir)
	ended, cancel := context.WithCancel(t.Context())
	signer, err := keys.Signer(ended, file.ID)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := signSomething(signer); !errors.Is(err, context.Canceled) {
		t.Errorf("with the ended context: %v", err)
	}
	if err := trySign(t.Context(), keys, file.ID); err != nil {
		t.Error(err)
	}
}

// TestNoProvider names both ways to get a KMS that is not linked.
func TestNoProvider(t *testing.T) {
	err := explain("gcpkms://x", fmt.Errorf("%w", &kms.ProviderNotFoundError{}))
	wantReason(t, err, ReasonNoKMS)
	var hint interface{ Hint() string }
	if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "-tags gcpkms") || !strings.Contains(hint.Hint(), "sigstore-kms-gcpkms") {
		t.Errorf("advice %q", hint.Hint())
	}
}
