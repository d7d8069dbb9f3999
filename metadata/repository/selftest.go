package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// KeyTest says whether one key can sign.
type KeyTest struct {
	KeyFile
	OK       bool          `json:"ok"`
	Duration time.Duration `json:"duration_ns"`       // of opening, signing and verifying
	Warning  string        `json:"warning,omitempty"` // such as: others can read the private key
	Error    string        `json:"error,omitempty"`   // what Err says
	Reason   string        `json:"reason,omitempty"`  // its reason code, if it has one
	Hint     string        `json:"hint,omitempty"`    // what to do, if that is known
	Err      error         `json:"-"`                 // nil if OK
}

// SelfTest lets every key in the folders sign something random, and verifies
// the signature with the public key beside it, as TUF clients do. It goes on
// after a key that fails, until ctx ends.
func SelfTest(ctx context.Context, keys *KeyDir) []KeyTest {
	tests := make([]KeyTest, 0, len(keys.files))
	for _, file := range keys.files {
		test := KeyTest{KeyFile: file}
		start := time.Now()
		test.Err = keys.try(ctx, file)
		test.Duration = time.Since(start)
		test.OK = test.Err == nil
		if !test.OK {
			test.describe()
		}
		if file.URI == "" {
			test.Warning = exposed(file.Path)
		}
		tests = append(tests, test)
	}
	return tests
}

// describe puts what is known of the error into words.
func (t *KeyTest) describe() {
	t.Error = t.Err.Error()
	var coded interface{ ReasonCode() string }
	if errors.As(t.Err, &coded) {
		t.Reason = coded.ReasonCode()
	}
	var hinted interface{ Hint() string }
	if errors.As(t.Err, &hinted) {
		t.Hint = hinted.Hint()
	}
}

// try signs with the one key, not with another copy of it.
func (k *KeyDir) try(ctx context.Context, file KeyFile) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not tried: %w", err)
	}
	private, err := k.open(ctx, file)
	if err != nil {
		return err
	}
	message := []byte("tufboot key self-test " + rand.Text())
	sig, err := private.signer(ctx).SignMessage(bytes.NewReader(message))
	if err != nil {
		return err
	}
	public, err := LoadPublicKey(file.PublicPath())
	if err != nil {
		return err
	}
	if err := verifySignature(public, message, sig); err != nil {
		return fmt.Errorf("key %s: signature: %w", file.Path, err)
	}
	return nil
}
