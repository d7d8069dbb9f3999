// Package quick reads and verifies the long files of a TUF repository in about a
// tenth of the time that go-tuf takes: the snapshot, which lists every role, and
// the roles that list targets. What they cost grows with the repository; go-tuf
// decodes each of their entries four times and encodes it three times.
//
// # Why it may be trusted
//
// It only ever says yes or "I do not know", and after the second go-tuf is asked,
// which gives the verdict and the error. It knows plain files: the fields that
// this project writes, and none besides; no delegations; strings without escapes.
// So what it must not do is to accept something that is not signed. What it verifies is the canonical form
// of what it returns, encoded anew, and not bytes of the file. However the file
// was misread, then, what is returned is what the keys have signed.
//
// Which keys count, and how often, is decided as go-tuf does it (TUF
// specification, section 5.3.4 and the ones that refer to it). What a role may
// say besides being signed (versions, hashes, expiry) is the caller's to check.
package quick
