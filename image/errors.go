package image

import "fmt"

// Reason codes of a RefusedError. They are a contract with scripts.
const (
	ReasonSlotMounted      = "slot-mounted"      // the partition is mounted or otherwise in use
	ReasonDuplicateLabel   = "duplicate-label"   // a label is there twice on the disk
	ReasonWrongFilesystem  = "wrong-filesystem"  // not the expected file system, or another label
	ReasonDiskNotFound     = "disk-not-found"    // no such disk
	ReasonAmbiguousDisk    = "ambiguous-disk"    // several disks qualify
	ReasonPartitionMissing = "partition-missing" // the disk lacks one of the four, or the kernel has no device for it
	ReasonSlotTooSmall     = "slot-too-small"    // the release does not fit
	ReasonESPReadOnly      = "esp-read-only"     // the EFI partition is mounted read-only
)

// RefusedError says that something about the disk makes going on unsafe.
// Nothing has been written because of it, unless the reason is
// ReasonSlotTooSmall, where what was written so far is still marked as
// unverified.
type RefusedError struct {
	Reason string // one of the Reason constants
	Advice string // what the operator can do
	Err    error
}

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// ExitCode is the process's exit code for a refusal.
func (e *RefusedError) ExitCode() int { return 3 }

// ReasonCode returns the stable code of the reason.
func (e *RefusedError) ReasonCode() string { return e.Reason }

// Hint tells the operator what to do.
func (e *RefusedError) Hint() string { return e.Advice }

func refuse(reason, advice, format string, args ...any) error {
	return &RefusedError{Reason: reason, Advice: advice, Err: fmt.Errorf(format, args...)}
}
