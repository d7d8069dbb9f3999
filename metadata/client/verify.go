package client

import (
	"encoding/json"
	"errors"
	"fmt"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// panicError is a panic of the TUF library on metadata that it did not expect,
// such as a null entry in targets.json, which it reads before it checks any
// signature.
type panicError struct{ value any }

func (e *panicError) Error() string {
	return fmt.Sprintf("the metadata is malformed (%v)", e.value)
}

// guard runs fn and turns a panic into an error.
func guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p}
		}
	}()
	return fn()
}

// errMixed says that files of a repository do not belong together.
var errMixed = errors.New("the server's files do not belong together")

const (
	adviceTampered = "The file was changed after it was signed, on the server or on the way, or it is not signed by the right key. Do not work around it: tell the repository's owner."
	adviceForeign  = "The server's metadata is not signed by the keys that this node's root.json leads to: a wrong server address, a repository that was made anew with other keys, or an attack. Compare the server with the repository's owner; a new owner needs a new root.json on the node."
	adviceRollback = "The server offers older metadata than this node has seen before: it was restored from a backup, a cache on the way is old, or an attacker replays old files. The repository's owner publishes again with higher versions."
	adviceMixed    = "The server's files are from different moments: an upload that is not finished, a cache on the way, or an attack. Try again in some minutes; then tell the repository's owner."
	adviceGarbage  = "The server's answer is not TUF metadata: a wrong server address, a login page or proxy in between, a damaged upload, or an attack."
)

// keyIDs is a set of keys that a repository is known by.
type keyIDs map[string]bool

// add adds the keys that a root or a delegation names, for whatever role.
func (k keyIDs) add(keys map[string]*tuf.Key) keyIDs {
	for id := range keys {
		k[id] = true
	}
	return k
}

// rejected makes the VerificationError for a file that the library did not
// accept. known are the keys that the repository is known by, data is what was
// fetched.
func rejected(what string, data []byte, known keyIDs, err error) error {
	reason, advice := ReasonMalformed, adviceGarbage
	var (
		unsigned *tuf.ErrUnsignedMetadata
		version  *tuf.ErrBadVersionNumber
		length   *tuf.ErrLengthOrHashMismatch
	)
	switch {
	case errors.As(err, &unsigned):
		reason, advice = ReasonBadSignature, adviceTampered
		if foreign(data, known) {
			reason, advice = ReasonWrongRoot, adviceForeign
		}
	case errors.Is(err, errMixed):
		advice = adviceMixed
	case errors.As(err, &version):
		reason, advice = ReasonRollback, adviceRollback
	case errors.As(err, &length):
		reason, advice = ReasonBadHash, adviceMixed
	}
	return &VerificationError{Reason: reason, Advice: advice, Err: fmt.Errorf("%s: %w", what, err)}
}

// foreign reports whether data carries signatures, and none by a known key: then
// it belongs to another repository, while a wrong signature, or one by a key of
// another role or of an earlier root, means that something is wrong with this one.
func foreign(data []byte, known keyIDs) bool {
	var file struct {
		Signatures []struct {
			KeyID string `json:"keyid"`
		} `json:"signatures"`
	}
	if json.Unmarshal(data, &file) != nil || len(file.Signatures) == 0 {
		return false
	}
	for _, s := range file.Signatures {
		if known[s.KeyID] {
			return false
		}
	}
	return true
}

// isExpiry reports whether the library accepted the file but for its age.
func isExpiry(err error) bool {
	var e *tuf.ErrExpiredMetadata
	return errors.As(err, &e)
}

// isVersion reports whether err is about a version number.
func isVersion(err error) bool {
	var e *tuf.ErrBadVersionNumber
	return errors.As(err, &e)
}
