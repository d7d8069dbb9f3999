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

// errLength says that a metadata file does not have the length that was signed.
// The library tells a wrong hash only.
var errLength = errors.New("wrong length")

// checkLength adds errLength to the library's error where that is the cause.
func checkLength(err error, info *tuf.MetaFiles, data []byte) error {
	if info != nil && info.Length > 0 && int64(len(data)) != info.Length {
		return fmt.Errorf("%w: %d bytes, signed are %d: %w", errLength, len(data), info.Length, err)
	}
	return err
}

// errMixed says that files of a repository do not belong together.
var errMixed = errors.New("the server's files do not belong together")

const (
	adviceTampered = "The file was changed after it was signed, on the server or on the way, or its signing went wrong. Do not work around it: tell the repository's owner."
	adviceForeign  = "The server's metadata is not signed by the keys that this node's root.json leads to: a wrong server address, a repository that was made anew with other keys, or an attack. Compare the server with the repository's owner; a new owner needs a new root.json on the node."
	adviceRollback = "The server offers older metadata than this node has seen before: it was restored from a backup, a cache on the way is old, or an attacker replays old files. The repository's owner publishes again with higher versions."
	adviceMixed    = "The server's files are from different moments: an upload that is not finished, a cache on the way, or an attack. Try again in some minutes; then tell the repository's owner."
	adviceGarbage  = "The server's answer is not TUF metadata: a wrong server address, a login page or proxy in between, a damaged upload, or an attack."
)

// rejected makes the VerificationError for a file that the library did not
// accept. signers are the key IDs that may sign it, data is what was fetched.
func rejected(what string, data []byte, signers []string, err error) error {
	reason, advice := ReasonMalformed, adviceGarbage
	var (
		unsigned *tuf.ErrUnsignedMetadata
		version  *tuf.ErrBadVersionNumber
		length   *tuf.ErrLengthOrHashMismatch
	)
	switch {
	case errors.As(err, &unsigned):
		reason, advice = ReasonBadSignature, adviceTampered
		if foreign(data, signers) {
			reason, advice = ReasonWrongRoot, adviceForeign
		}
	case errors.Is(err, errMixed):
		advice = adviceMixed
	case errors.Is(err, errLength):
		reason, advice = ReasonBadLength, adviceMixed
	case errors.As(err, &version):
		reason, advice = ReasonRollback, adviceRollback
	case errors.As(err, &length):
		reason, advice = ReasonBadHash, adviceMixed
	}
	return &VerificationError{Reason: reason, Advice: advice, Err: fmt.Errorf("%s: %w", what, err)}
}

// foreign reports whether data carries signatures, and none by one of the given
// keys: then it belongs to another repository, while a wrong signature by a
// named key means that the file was changed.
func foreign(data []byte, signers []string) bool {
	var file struct {
		Signatures []struct {
			KeyID string `json:"keyid"`
		} `json:"signatures"`
	}
	if json.Unmarshal(data, &file) != nil || len(file.Signatures) == 0 {
		return false
	}
	named := make(map[string]bool)
	for _, id := range signers {
		named[id] = true
	}
	for _, s := range file.Signatures {
		if named[s.KeyID] {
			return false
		}
	}
	return true
}

// rootSigners returns the key IDs that root names for a role.
func rootSigners(root *tuf.Metadata[tuf.RootType], role string) []string {
	if r := root.Signed.Roles[role]; r != nil {
		return r.KeyIDs
	}
	return nil
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
