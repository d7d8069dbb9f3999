package client

import (
	"errors"
	"fmt"
)

// Reason codes of VerificationError and NetworkError. They are a contract with
// scripts.
const (
	ReasonBadSignature = "bad-signature"      // a named key's signature is wrong or missing
	ReasonExpired      = "metadata-expired"   // older than its signed expiry
	ReasonRollback     = "metadata-rollback"  // a lower version than was accepted before
	ReasonBadHash      = "bad-hash"           // the bytes are not those that were signed
	ReasonBadLength    = "bad-length"         // more or fewer bytes than were signed
	ReasonMalformed    = "metadata-malformed" // not TUF metadata, or parts that do not fit together
	ReasonWrongRoot    = "wrong-root"         // signed by keys that the built-in root does not lead to

	ReasonUnreachable = "server-unreachable" // no answer at all
	ReasonServerError = "server-error"       // an answer other than the file
	ReasonStalled     = "stalled"            // an answer that stopped coming
	ReasonNotFound    = "not-found"          // signed metadata does not have it
)

// ErrNotFound is in the chain of errors that say that the signed metadata has
// no such channel, architecture, release or target.
var ErrNotFound = errors.New("not found")

// ErrHave is in the chain of a VerificationError of Download when bytes that the
// caller already held took part in it. They, not the server's, may be the wrong
// ones: start again without them once before blaming the server.
var ErrHave = errors.New("the bytes held from an earlier attempt may be the wrong ones")

// VerificationError says that something was fetched, or held, that the built-in
// root does not vouch for. Nothing of it was used.
type VerificationError struct {
	Reason string // one of the reason codes above
	Advice string // what it may mean and what to do, one or two sentences
	Err    error
}

func (e *VerificationError) Error() string { return e.Err.Error() }
func (e *VerificationError) Unwrap() error { return e.Err }

// ExitCode is 4: verification failed.
func (e *VerificationError) ExitCode() int { return 4 }

// ReasonCode returns Reason.
func (e *VerificationError) ReasonCode() string { return e.Reason }

// Hint tells the operator what the failure may mean and what to do.
func (e *VerificationError) Hint() string { return e.Advice }

// NetworkError says that the server did not deliver. Nothing is known to be
// wrong with the repository; trying again later may help.
type NetworkError struct {
	Reason string // ReasonUnreachable, ReasonServerError or ReasonStalled
	URL    string // what was asked for, without a password
	Status int    // HTTP status, 0 without an answer
	Advice string // what to do, when it is not what the reason says already
	Err    error

	transient bool
	after     int // seconds that the server asked to wait
}

func (e *NetworkError) Error() string {
	if e.Status != 0 && e.Err == nil {
		return fmt.Sprintf("%s: the server answered with HTTP status %d", e.URL, e.Status)
	}
	return fmt.Sprintf("%s: %v", e.URL, e.Err)
}

func (e *NetworkError) Unwrap() error { return e.Err }

// ExitCode is 1: failed; trying again may help.
func (e *NetworkError) ExitCode() int { return 1 }

// ReasonCode returns Reason.
func (e *NetworkError) ReasonCode() string { return e.Reason }

// Hint tells the operator what to do.
func (e *NetworkError) Hint() string {
	if e.Advice != "" {
		return e.Advice
	}
	switch e.Reason {
	case ReasonUnreachable:
		return "Check that this node reaches the server: address, DNS, firewall, proxy (HTTPS_PROXY, NO_PROXY). The running release is not affected."
	case ReasonStalled:
		return "The server or the network stopped sending. Run it again: a download goes on where it stopped."
	}
	return "Check that the server's address is the folder that holds metadata/ and targets/, and that all of the repository was uploaded."
}

// notFoundError wraps ErrNotFound with what was looked for.
type notFoundError struct{ what, hint string }

func (e *notFoundError) Error() string      { return e.what + ": not found in the signed metadata" }
func (e *notFoundError) Is(t error) bool    { return t == ErrNotFound }
func (e *notFoundError) ExitCode() int      { return 3 }
func (e *notFoundError) ReasonCode() string { return ReasonNotFound }
func (e *notFoundError) Hint() string       { return e.hint }

// isTransient reports whether trying the same request again may help.
func isTransient(err error) bool {
	var n *NetworkError
	return errors.As(err, &n) && n.transient
}

// isMissing reports whether the server says that it has no such file. A store
// that hides what may not be listed (S3 without ListBucket) says 403.
func isMissing(err error) bool {
	var n *NetworkError
	if !errors.As(err, &n) {
		return false
	}
	switch n.Status {
	case 403, 404, 410:
		return true
	}
	return false
}
