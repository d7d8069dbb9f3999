package image

import (
	"errors"

	"golang.org/x/sys/unix"
)

// DamagedError says that a slot's file system is damaged: writing to it would be
// building on sand. Remake helps.
type DamagedError struct{ Err error }

func (e *DamagedError) Error() string { return e.Err.Error() }
func (e *DamagedError) Unwrap() error { return e.Err }

// ReasonCode returns the stable reason code.
func (e *DamagedError) ReasonCode() string { return "slot-damaged" }

// Hint tells the operator what to do.
func (e *DamagedError) Hint() string {
	return "`agent update` makes the file system anew; if it is damaged again, the storage device is failing: look at its SMART data and replace it"
}

// contentError says that the kernel has the file system and its options, and
// cannot go on with what the device holds.
type contentError struct{ Err error }

func (e *contentError) Error() string { return e.Err.Error() }
func (e *contentError) Unwrap() error { return e.Err }

// Damaged reports whether err says that a slot's file system is damaged, or is
// none: as opposed to one that keeps the process from looking (no permission, no
// driver), to one that is full, and to a file's own blocks that the device does not
// take or give, which another file system would not change.
func Damaged(err error) bool {
	var damaged *DamagedError
	var refused *RefusedError
	var content *contentError
	return errors.As(err, &damaged) ||
		errors.As(err, &refused) && refused.Reason == ReasonWrongFilesystem ||
		errors.Is(err, unix.EUCLEAN) || errors.Is(err, unix.EBADMSG) ||
		errors.As(err, &content) && errors.Is(err, unix.EIO)
}

// DamagedUnlessAll reports whether err says that a slot's file system is damaged
// unless all file systems give this error here. The kernel has one code for
// numbers in a superblock that cannot be and for what it was not built for; a
// slot that can be mounted in the same way (OpenSlot) tells the two apart.
func DamagedUnlessAll(err error) bool {
	var content *contentError
	return errors.As(err, &content) && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESTALE))
}
