package update

import (
	"fmt"

	"tufboot/grub"
)

// Situation is where a node stands between two releases. It is derived anew at
// every run from what cannot lie: the kernel's command line, the environment
// block, and what the agent wrote down before it armed.
type Situation string

const (
	// SituationCommitted means that the booted slot is active and committed; updates can
	// be made.
	SituationCommitted Situation = "committed"
	// SituationTrial means that this boot is a counted trial boot of the active slot;
	// the health gate decides.
	SituationTrial Situation = "trial"
	// SituationArmed means that the other slot is armed and the reboot has not happened.
	SituationArmed Situation = "armed"
	// SituationRolledBack means that GRUB gave the last trial up; the failure is not
	// remembered yet.
	SituationRolledBack Situation = "rolled-back"
	// SituationTrialLost means that GRUB counted a trial boot, but the other slot is
	// running: the trial's slot could not be loaded.
	SituationTrialLost Situation = "trial-lost"
	// SituationJustCommitted means that the trial was marked good, but the agent was
	// killed before it cleaned up behind itself.
	SituationJustCommitted Situation = "just-committed"
	// SituationNeverArmed means that the agent was killed after it noted the trial and
	// before it armed it.
	SituationNeverArmed Situation = "never-armed"
	// SituationMismatch means that GRUB did not count or name the trial as it was armed;
	// it reads another block or cannot write this one.
	SituationMismatch Situation = "mismatch"
	// SituationOtherSlot means that the booted slot is not the active one, although
	// nothing is on trial: booted once by hand, or a rollback waits for its
	// reboot.
	SituationOtherSlot Situation = "other-slot"
	// SituationDamaged means that the environment block cannot be read.
	SituationDamaged Situation = "damaged"
	// SituationUnknown means that the kernel was not started by tufboot's grub.cfg.
	SituationUnknown Situation = "unknown"
)

// Facts are what a Situation is derived from.
type Facts struct {
	Block    grub.State  // the environment block
	BlockErr error       // why Block could not be read, or nil
	Booted   grub.Booted // the kernel's command line, or what the operator said
	Rescue   bool        // neither slot is running (provisioning, rescue system)
	KernelID string      // the kernel's random boot id
	Trial    *Trial      // what the agent noted before it armed, or nil
}

// Situation derives where the node stands.
func (f Facts) Situation() Situation {
	switch {
	case f.BlockErr != nil:
		return SituationDamaged
	case f.Booted.Slot == "" && !f.Rescue:
		return SituationUnknown
	case f.Block.Trial():
		return f.onTrial()
	default:
		return f.committed()
	}
}

func (f Facts) committed() Situation {
	switch {
	case f.Trial != nil && f.Block.Active == f.Trial.Slot:
		return SituationJustCommitted
	case f.Trial != nil && f.Block.BootID == f.Trial.BootID:
		return SituationRolledBack // GRUB leaves the token alone when it gives up
	case f.Trial != nil:
		return SituationNeverArmed
	case !f.Rescue && f.Booted.Slot != f.Block.Active:
		return SituationOtherSlot
	}
	return SituationCommitted
}

func (f Facts) onTrial() Situation {
	if f.Rescue {
		return SituationArmed
	}
	if f.Booted.Slot == f.Block.Active {
		if f.Handshake() != nil {
			return SituationMismatch
		}
		return SituationTrial
	}
	if f.Block.Counter < grub.Attempts {
		return SituationTrialLost
	}
	if f.Trial != nil && f.Trial.ArmedIn != f.KernelID {
		return SituationMismatch
	}
	return SituationArmed
}

// Handshake compares what GRUB passed to the kernel with what the block says.
// They differ where GRUB reads another block than the agent, or cannot write.
func (f Facts) Handshake() error {
	try := grub.Attempts - f.Block.Counter
	switch {
	case f.Booted.Slot != f.Block.Active:
		return fmt.Errorf("slot %s was armed, and the machine was rebooted, but GRUB booted slot %s without counting", f.Block.Active, f.Booted.Slot)
	case f.Booted.BootID != f.Block.BootID:
		return fmt.Errorf("GRUB passed boot_id %q, but %q is armed", f.Booted.BootID, f.Block.BootID)
	case f.Booted.Try != try && !f.gaveBack():
		return fmt.Errorf("GRUB says that this is trial boot %d, but the block counts %d", f.Booted.Try, try)
	}
	return nil
}

// refusal returns why an update cannot start in a situation, or nil.
func (f Facts) refusal(s Situation) error {
	switch s {
	case SituationUnknown:
		return refuse(ReasonNotBooted,
			"boot the node through tufboot's GRUB menu, or name the running slot with --booted-slot A|B|none",
			"the kernel command line has no tufboot.slot, so the running slot is not known")
	case SituationTrial:
		return refuse(ReasonTrialPending,
			"let the health gate decide (`agent healthcheck`), or give the trial up with `agent rollback`",
			"slot %s is on trial (boot %d of %d) and not decided", f.Block.Active, f.Booted.Try, grub.Attempts)
	case SituationArmed:
		return refuse(ReasonRebootPending, "reboot the node, or take the trial back with `agent rollback`",
			"slot %s is armed and waits for the reboot", f.Block.Active)
	case SituationOtherSlot:
		return refuse(ReasonOtherSlot,
			"reboot into the active slot, or make the booted one active with `agent rollback`",
			"slot %s is running, but slot %s is active", f.Booted.Slot, f.Block.Active)
	case SituationMismatch:
		return refuse(ReasonBootState,
			"GRUB reads another environment block than the agent, or cannot write to it: look at the ESP for a second copy, a worn-out or read-only device; `agent rollback` ends the trial",
			"GRUB did not do what was armed: %v", f.Handshake())
	case SituationDamaged:
		return refuse(ReasonBlockDamaged, "run `agent healthcheck` on the node: it repairs the block from what is running",
			"the environment block is damaged: %v", f.BlockErr)
	}
	return nil
}
