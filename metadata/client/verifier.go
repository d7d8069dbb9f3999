package client

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// verifyTarget checks a small target's bytes.
func verifyTarget(name string, info *tuf.TargetFiles, data []byte) error {
	if int64(len(data)) != info.Length {
		return badLength(name, int64(len(data)), info.Length)
	}
	v := newVerifier(name, info)
	_, _ = v.Write(data) // never fails
	return v.verify()
}

// verifier hashes a target's bytes as they pass.
type verifier struct {
	name   string
	want   tuf.Hashes
	hashes map[string]hash.Hash
}

// newVerifier returns one for every known hash that the metadata gives; lookup
// has seen to SHA-256.
func newVerifier(name string, info *tuf.TargetFiles) *verifier {
	v := &verifier{name: name, want: info.Hashes, hashes: map[string]hash.Hash{"sha256": sha256.New()}}
	if len(info.Hashes["sha512"]) > 0 {
		v.hashes["sha512"] = sha512.New()
	}
	return v
}

func (v *verifier) Write(p []byte) (int, error) {
	for _, h := range v.hashes {
		h.Write(p)
	}
	return len(p), nil
}

// verify compares what passed with what was signed.
func (v *verifier) verify() error {
	for algorithm, h := range v.hashes {
		if got := h.Sum(nil); !bytes.Equal(got, v.want[algorithm]) {
			return &VerificationError{
				Reason: ReasonBadHash, Advice: adviceTampered,
				Err: fmt.Errorf("%s: %s is %x, signed is %x", v.name, algorithm, got, []byte(v.want[algorithm])),
			}
		}
	}
	return nil
}

func badLength(name string, got, want int64) error {
	return &VerificationError{
		Reason: ReasonBadLength, Advice: adviceTampered,
		Err: fmt.Errorf("%s: the server has %d bytes of it, signed are %d", name, got, want),
	}
}
