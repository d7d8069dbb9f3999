package repository

import (
	"errors"
	"fmt"
)

// Reason codes of a [RefusedError]. They are a contract with scripts.
const (
	ReasonVersionExists = "version-exists"       // the version is published with other content, or written differently
	ReasonChannelMoved  = "channel-differs"      // the channel points to another release
	ReasonLocked        = "repository-locked"    // another process edits the repository
	ReasonExists        = "repository-exists"    // there is a repository or keys already
	ReasonNotEnoughKeys = "not-enough-keys"      // a role's threshold cannot be reached
	ReasonWrongPassword = "wrong-password"       // a private key cannot be decrypted
	ReasonKeyType       = "unsupported-key"      // clients cannot verify such a key
	ReasonThreshold     = "bad-threshold"        // below 1 or above the number of keys
	ReasonDuplicateKey  = "duplicate-key"        // the same public key twice in a role
	ReasonNotRepository = "not-a-repository"     // there is no repository in the folder
	ReasonBadPolicy     = "bad-policy"           // an expiry that is not longer than its window
	ReasonConflict      = "repository-changed"   // another publisher was faster
	ReasonRegression    = "clients-would-refuse" // a client that is up to date could not go on
	ReasonNoRelease     = "no-such-release"      // not in the repository, or not in the channel
	ReasonNoPath        = "no-update-path"       // nodes could not get to the release
	ReasonWrongRoot     = "wrong-root"           // it is not the repository that the keys belong to
	ReasonBadRepository = "invalid-repository"   // what is published does not verify
)

// ErrNoKey is returned by [Signers] that do not hold the private key asked for.
var ErrNoKey = errors.New("no private key")

// ErrNotFound is wrapped by errors about a target that the repository lacks.
var ErrNotFound = errors.New("not in the repository")

// RefusedError says that the state of the repository, or a rule, forbids what
// was asked for. Nothing has changed for readers.
type RefusedError struct {
	Reason string // one of the Reason constants
	Advice string // what the operator can do, a sentence, or ""
	Err    error
}

func refuse(reason, advice, format string, args ...any) error {
	return &RefusedError{Reason: reason, Advice: advice, Err: fmt.Errorf(format, args...)}
}

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// ExitCode is 3 (refused by policy or state).
func (e *RefusedError) ExitCode() int { return 3 }

// ReasonCode returns e.Reason.
func (e *RefusedError) ReasonCode() string { return e.Reason }

// Hint returns e.Advice.
func (e *RefusedError) Hint() string { return e.Advice }

// ValueError says that a value that the caller gave, such as a version or the name
// of a channel, is none that can be. What a repository holds never leads to it.
type ValueError struct{ Err error }

// badValue marks the error of a check of what the caller gave.
func badValue(err error) error {
	if err == nil {
		return nil
	}
	return &ValueError{err}
}

func (e *ValueError) Error() string { return e.Err.Error() }
func (e *ValueError) Unwrap() error { return e.Err }

// ExitCode is 2 (wrong usage).
func (e *ValueError) ExitCode() int { return 2 }

// ReasonCode is that of wrong usage.
func (e *ValueError) ReasonCode() string { return "usage" }

// InvalidError says that published metadata or a published target is not what
// its signatures or hashes say.
type InvalidError struct {
	Reason string // such as ReasonBadRepository or "metadata-expired"
	Advice string // what the operator can do, a sentence, or ""
	Err    error
}

func invalid(format string, args ...any) error {
	return &InvalidError{Reason: ReasonBadRepository, Err: fmt.Errorf(format, args...)}
}

// Hint returns e.Advice.
func (e *InvalidError) Hint() string { return e.Advice }

func (e *InvalidError) Error() string { return e.Err.Error() }
func (e *InvalidError) Unwrap() error { return e.Err }

// ExitCode is 4 (verification failed).
func (e *InvalidError) ExitCode() int { return 4 }

// ReasonCode returns e.Reason.
func (e *InvalidError) ReasonCode() string { return e.Reason }
