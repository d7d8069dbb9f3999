package repository

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/signature/kms"

	"tufboot/internal/atomicfile"
)

// Reason codes of a [RefusedError], or of an [InvalidError], about one key.
const (
	ReasonKeyExists    = "key-exists"    // there is a key of that name
	ReasonKeyName      = "bad-name"      // the name cannot be a file's name
	ReasonKeyURI       = "bad-uri"       // it is no URI of a key, or it holds a secret
	ReasonKeyMismatch  = "key-mismatch"  // the private key is not the other half of the public one
	ReasonNoKMS        = "no-kms"        // nobody here can speak to the KMS of a URI
	ReasonBadSignature = "bad-signature" // clients would refuse the signature that a KMS made
)

// LinkOptions describe a key in a KMS or in a device, which shall be used from
// a folder of keys.
type LinkOptions struct {
	Dir  string // is made if it is not there
	Name string // of the two files, without a suffix
	URI  string // sigstore's, such as awskms:///alias/release, or of RFC 7512
	// Create makes the key there first, of the named algorithm. The names are
	// the KMS's own; "" takes the key that is there.
	Create  string
	Timeout time.Duration // as in KeyDir
}

// GenerateKeyFile makes a private key and writes it as [WriteKey] does. The
// folder is made if it is not there. A name that is taken there, be it by a
// public key alone, is refused with [ReasonKeyExists].
func GenerateKeyFile(dir, name string, keyType KeyType, password []byte) (KeyFile, error) {
	if err := checkNewKey(dir, name, privateSuffix, uriSuffix, publicSuffix); err != nil {
		return KeyFile{}, err
	}
	private, err := GenerateKey(keyType)
	if err != nil {
		return KeyFile{}, err
	}
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return KeyFile{}, err
	}
	return WriteKey(dir, name, private, password)
}

// LinkKey asks a KMS for its public key, lets it sign something, and writes
// NAME.pub and NAME.uri. A key whose signature clients could not verify is not
// linked. A name that is taken is refused with [ReasonKeyExists], but for a
// NAME.pub alone that is this very key.
func LinkKey(ctx context.Context, opts LinkOptions) (KeyFile, error) {
	if err := checkNewKey(opts.Dir, opts.Name, privateSuffix, uriSuffix); err != nil {
		return KeyFile{}, err
	}
	if _, err := checkURI(opts.URI); err != nil {
		return KeyFile{}, err
	}
	timeout := (&KeyDir{Timeout: opts.Timeout}).timeout()
	if opts.Create != "" {
		if err := createKey(ctx, opts.URI, opts.Create, timeout); err != nil {
			return KeyFile{}, err
		}
	}
	sv, public, err := askPublic(ctx, opts.URI, "", timeout)
	if err != nil {
		return KeyFile{}, err
	}
	file, err := keyFile(filepath.Join(opts.Dir, opts.Name+uriSuffix), public)
	if err != nil {
		return KeyFile{}, err
	}
	file.URI = opts.URI
	if err := checkPublicHalf(file); err != nil {
		return KeyFile{}, err
	}
	key := &kmsKey{file: file, public: public, kms: sv, timeout: timeout}
	if _, err := key.signer(ctx).SignMessage(strings.NewReader("tufboot key link " + rand.Text())); err != nil {
		return KeyFile{}, err
	}
	if err := atomicfile.MkdirAll(opts.Dir, 0o700); err != nil {
		return KeyFile{}, err
	}
	if err := writePublic(file, public); err != nil {
		return KeyFile{}, err
	}
	return file, atomicfile.Write(file.Path, []byte(file.URI+"\n"), 0o644)
}

// createKey makes a key in a KMS.
func createKey(ctx context.Context, uri, algorithm string, timeout time.Duration) error {
	_, err := bounded(ctx, timeout, func(ctx context.Context) (any, error) {
		sv, err := kms.Get(ctx, sigstoreURI(uri), 0)
		if err != nil {
			return nil, err
		}
		return sv.CreateKey(ctx, algorithm)
	})
	if err != nil {
		return explain(uri, err)
	}
	return nil
}

// checkPublicHalf refuses to put another key's private half beside a public
// one.
func checkPublicHalf(file KeyFile) error {
	public, err := LoadPublicKey(file.PublicPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if id, err := KeyID(public); err != nil || id != file.ID {
		return refuse(ReasonKeyExists, "use another name, or correct the URI",
			"%s is there already, and is not the key of %s", file.PublicPath(), file.URI)
	}
	return nil
}

// checkNewKey refuses a name that is no file's name, or taken.
func checkNewKey(dir, name string, suffixes ...string) error {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) {
		return refuse(ReasonKeyName, "use a name such as alice: it becomes alice.key and alice.pub", "key name %q", name)
	}
	for _, suffix := range suffixes {
		path := filepath.Join(dir, name+suffix)
		if _, err := os.Lstat(path); err == nil {
			return refuse(ReasonKeyExists, "use another name; a key that is lost cannot be made again", "%s is there already", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("key: %w", err)
		}
	}
	return nil
}
