package update

import (
	"errors"
	"fmt"
)

// Reason codes of a Refusal. They are a contract with scripts and dashboards:
// a code is never renamed, and never used for something else.
const (
	ReasonLocked           = "locked"                 // another agent is at work
	ReasonNotBooted        = "booted-slot-unknown"    // not booted by tufboot's grub.cfg
	ReasonTrialPending     = "trial-pending"          // the running trial is not decided yet
	ReasonRebootPending    = "reboot-pending"         // a slot is armed, or was rolled back to; the reboot is missing
	ReasonBootState        = "boot-state-mismatch"    // GRUB did not do what the agent armed
	ReasonBlockDamaged     = "boot-state-damaged"     // the environment block cannot be read
	ReasonOtherSlot        = "booted-slot-not-active" // somebody booted the other slot once
	ReasonFailedBefore     = "release-failed-before"  // this very release was tried and rolled back
	ReasonNotYet           = "rollout-not-yet"        // another node's turn: the rollout has not reached this one
	ReasonNoPath           = "no-update-path"         // the channel's release wants a higher version first, and no step leads there
	ReasonMaintenance      = "outside-maintenance"    // the channel's maintenance window, which this node follows, is closed
	ReasonNothingStaged    = "nothing-staged"         // activate without apply
	ReasonSlotNotBootable  = "slot-not-bootable"      // rollback to a slot that holds nothing whole
	ReasonNoSpace          = "slot-too-small"         // the release does not fit into the slot
	ReasonSlotVerification = "slot-verification"      // what was read back is not what was written
	ReasonTrialCounted     = "trial-counted"          // a trial boot that ended in good order is counted all the same
)

// exitRefused and exitVerification are the exit codes of package
// internal/console, by which the command line ends.
const (
	exitRefused      = 3
	exitVerification = 4
)

// Refusal says that policy or state forbids what was asked for. Nothing was
// changed. The process ends with exit code 3.
type Refusal struct {
	Reason string // one of the Reason constants
	Text   string // what is in the way
	Advice string // what the operator can do about it
}

func refuse(reason, advice, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...), Advice: advice}
}

func (r *Refusal) Error() string { return r.Text }

// ExitCode returns the exit code of a refusal.
func (r *Refusal) ExitCode() int { return exitRefused }

// ReasonCode returns the stable reason code.
func (r *Refusal) ReasonCode() string { return r.Reason }

// Hint says what the operator can do.
func (r *Refusal) Hint() string { return r.Advice }

// reasonOf returns the reason code of an error that has one.
func reasonOf(err error) string {
	var r interface{ ReasonCode() string }
	if errors.As(err, &r) {
		return r.ReasonCode()
	}
	return ""
}

// SlotError says that a slot does not hold what was written to it: the device
// lies, is worn out, or something else wrote to it. The slot stays unbootable.
type SlotError struct {
	Device string
	File   string
	Err    error
}

func (e *SlotError) Error() string {
	return fmt.Sprintf("%s on %s does not hold what was written: %v", e.File, e.Device, e.Err)
}

func (e *SlotError) Unwrap() error { return e.Err }

// ExitCode returns the exit code of a failed verification.
func (e *SlotError) ExitCode() int { return exitVerification }

// ReasonCode returns the stable reason code.
func (e *SlotError) ReasonCode() string { return ReasonSlotVerification }

// Hint says what the operator can do.
func (e *SlotError) Hint() string {
	return "the slot stays unbootable and the booted release keeps running; if it happens again, the storage device is failing: look at its SMART data and replace it"
}
