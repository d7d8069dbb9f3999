package repository

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// kmsKey is a key in a KMS or in a device.
type kmsKey struct {
	file    KeyFile
	public  crypto.PublicKey
	kms     kms.SignerVerifier
	timeout time.Duration // for one answer
}

// connect finds the key of a URI, and compares it with the public key beside
// the URI before anything is signed.
func connect(ctx context.Context, file KeyFile, timeout time.Duration) (privateKey, error) {
	sv, public, err := askPublic(ctx, file.URI, file.Type, timeout)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", file.Path, err)
	}
	id, err := KeyID(public)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", file.Path, err)
	}
	if id != file.ID {
		return nil, refuse(ReasonKeyMismatch, "correct the URI; if the key was changed there, link it as a new one and let root sign that",
			"key %s: %s holds key %s, and %s is key %s", file.Path, file.URI, shortID(id), file.PublicPath(), shortID(file.ID))
	}
	return &kmsKey{file: file, public: public, kms: sv, timeout: timeout}, nil
}

// askPublic connects to a KMS and asks it for a public key. The type decides
// whether the message is signed or its hash; "" leaves it to the answer.
func askPublic(ctx context.Context, uri string, keyType KeyType, timeout time.Duration) (kms.SignerVerifier, crypto.PublicKey, error) {
	hash := crypto.SHA256
	if keyType == Ed25519 {
		hash = 0
	}
	sv, err := bounded(ctx, timeout, func(ctx context.Context) (kms.SignerVerifier, error) {
		return kms.Get(ctx, sigstoreURI(uri), hash)
	})
	if err != nil {
		return nil, nil, explain(uri, err)
	}
	public, err := bounded(ctx, timeout, func(ctx context.Context) (crypto.PublicKey, error) {
		return sv.PublicKey(options.WithContext(ctx))
	})
	if err != nil {
		return nil, nil, explain(uri, err)
	}
	found, err := TypeOf(public)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", uri, err)
	}
	if keyType == "" && found == Ed25519 {
		return askPublic(ctx, uri, found, timeout)
	}
	return sv, public, nil
}

func (k *kmsKey) signer(ctx context.Context) signature.Signer { return kmsSigner{k, ctx} }

// kmsSigner is a kmsKey for the time of one context.
type kmsSigner struct {
	*kmsKey
	ctx context.Context
}

// PublicKey returns the public key beside the URI, which was compared.
func (s kmsSigner) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return s.public, nil
}

// SignMessage lets the KMS sign, and verifies its signature: what clients
// would refuse must not be published, whoever is at fault.
func (s kmsSigner) SignMessage(message io.Reader, _ ...signature.SignOption) ([]byte, error) {
	data, err := io.ReadAll(message)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sig, err := bounded(s.ctx, s.timeout, func(ctx context.Context) ([]byte, error) {
		return s.kms.SignMessage(bytes.NewReader(data), options.WithContext(ctx))
	})
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", s.file.Path, explain(s.file.URI, err))
	}
	if err := verifySignature(s.public, data, sig); err != nil {
		return nil, fmt.Errorf("key %s: signature by %s: %w", s.file.Path, s.file.URI, err)
	}
	return sig, nil
}

// errPanic is a panic in the code of a KMS.
var errPanic = errors.New("its answer lacks what was asked for")

// bounded calls f and gives up after the time limit, and on a panic: sigstore's
// plugin client takes for granted that an answer holds what was asked for, and
// waits for whoever keeps a plugin's output open; Vault's client knows no
// context. What still runs then ends with the process.
func bounded[T any](ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("%w (%v)", errPanic, p)
			}
			done <- r
		}()
		r.value, r.err = f(ctx)
	}()
	select {
	case r := <-done:
		// A plugin that was killed in time fails with "signal: killed".
		if r.err != nil && ctx.Err() != nil {
			r.err = gaveUp(ctx, limit)
		}
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, gaveUp(ctx, limit)
	}
}

func gaveUp(ctx context.Context, limit time.Duration) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v: %w", limit, ctx.Err())
	}
	return fmt.Errorf("stopped waiting for an answer: %w", ctx.Err())
}

// explain says what stands behind an error of sigstore's kms package.
func explain(uri string, err error) error {
	name, _, _ := strings.Cut(uri, ":")
	program := cliplugin.PluginBinaryPrefix + name
	var missing *kms.ProviderNotFoundError
	switch {
	case errors.As(err, &missing):
		return noProvider(name, program)
	case linked(name):
		return fmt.Errorf("%s: %w", uri, err)
	case errors.Is(err, cliplugin.ErrorResponseParse), errors.Is(err, errPanic):
		return fmt.Errorf("%s: the program %s gave no answer that makes sense; what it wrote to the error output says more: %w", uri, program, err)
	default:
		return fmt.Errorf("%s: program %s: %w", uri, program, err)
	}
}

func linked(scheme string) bool {
	return slices.Contains(kms.SupportedProviders(), scheme+"://")
}

// buildTag returns the build tag that links a cloud's KMS into the program, or
// "".
func buildTag(scheme string) string {
	switch scheme {
	case "awskms", "azurekms", "gcpkms", "hashivault":
		return scheme
	case "openbao":
		return "hashivault"
	}
	return ""
}

func noProvider(name, program string) error {
	advice := fmt.Sprintf("put a program %s on PATH", program)
	if tag := buildTag(name); tag != "" {
		advice = fmt.Sprintf("build the program with -tags %s, or put a program %s on PATH", tag, program)
	}
	return refuse(ReasonNoKMS, advice, "keys of %s: are neither linked in, nor is there a program %s on PATH", name, program)
}
