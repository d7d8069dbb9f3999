package update

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata"
)

// Activate arms the slot that Apply wrote (steps 5 and 6 of the package
// comment): the next boot is its first trial boot.
func (n *Node) Activate(ctx context.Context) (Staged, error) {
	s, f, situation, err := n.settle(ctx)
	if err != nil {
		return Staged{}, err
	}
	if err := f.refusal(situation); err != nil {
		return Staged{}, err
	}
	if s.Staged == nil || s.Staged.Slot != f.inactive() {
		return Staged{}, refuse(ReasonNothingStaged, "run `agent apply` first, or `agent update`, which does both",
			"no slot holds a release that waits to be activated")
	}
	staged := *s.Staged
	if held := n.slotRelease(staged.Slot); held.ID != staged.Release {
		return staged, refuse(ReasonNothingStaged, "run `agent apply` again",
			"slot %s does not hold release %s that was written to it: %s%s", staged.Slot, staged.Version, held.Version, held.Problem)
	}
	bootID, err := newBootID()
	if err != nil {
		return staged, err
	}
	s.Trial = &Trial{Staged: staged, BootID: bootID, ArmedIn: n.KernelID}
	if err := s.Save(n.StateDir); err != nil {
		return staged, err
	}
	return staged, n.changeBlock(fmt.Sprintf("arm slot %s", staged.Slot), func(b grub.State) (grub.State, error) {
		return b.Arm(staged.Slot, bootID)
	})
}

// newBootID returns a token that tells one armed trial from every other.
func newBootID() (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a boot_id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// Update is Apply and Activate. It returns the plan with Install false where
// there was nothing to do.
func (n *Node) Update(ctx context.Context, want string) (Plan, error) {
	p, err := n.Apply(ctx, want)
	if err != nil || !p.Install {
		return p, err
	}
	_, err = n.Activate(ctx)
	return p, err
}

// Rollback makes the slot that is not active bootable by default again, if it
// holds a whole release: after a commit the one before, during a trial or
// before its reboot the committed one. The release that is left is remembered
// as failed, so that it is not installed again by itself.
func (n *Node) Rollback(ctx context.Context, why string) (grub.Slot, error) {
	s, f, situation, err := n.settle(ctx)
	if err != nil {
		return "", err
	}
	if situation == SituationUnknown || situation == SituationDamaged {
		return "", f.refusal(situation)
	}
	to := f.Block.Active.Other()
	if _, left := s.FailedBefore(n.slotRelease(to).ID); left && situation == SituationOtherSlot {
		return to, refuse(ReasonRebootPending, "reboot the node; to come back to the release, `agent update --release VERSION` after that",
			"slot %s is active already: the rollback only waits for the reboot", f.Block.Active)
	}
	if !f.Block.OK(to) {
		return to, refuse(ReasonSlotNotBootable, "install a good release instead: `agent update --release VERSION`",
			"slot %s is marked as not bootable: it was given up, or is half written", to)
	}
	if err := n.checkSlot(ctx, to); err != nil {
		return to, err
	}
	left := n.slotRelease(f.Block.Active)
	if left.ID != "" {
		s = s.remember(Failure{Release: left.ID, Version: left.Version, Why: why, At: n.Now().UTC()})
	}
	s = s.forget(n.slotRelease(to).ID)
	s.Trial, s.Staged = nil, nil
	if err := s.Save(n.StateDir); err != nil {
		// The way back must not hang on a memory that may be lost at any time.
		n.Logger.Warn("the rollback is not remembered: the release may be installed again", "error", err)
	}
	return to, n.changeBlock(fmt.Sprintf("roll back to slot %s", to), func(b grub.State) (grub.State, error) {
		return b.Rollback(to)
	})
}

// checkSlot refuses a slot whose artifacts are not what its manifest says, with
// ReasonSlotNotBootable. Another error says that it could not look.
func (n *Node) checkSlot(ctx context.Context, slot grub.Slot) error {
	part := n.Disk.Slot(slot)
	files, err := heldFiles(part)
	if err == nil {
		err = readBack(ctx, part, files, nil)
	}
	if err == nil {
		return nil
	}
	if !contentWrong(err) {
		return fmt.Errorf("look at slot %s (%s): %w", slot, part.Device, err)
	}
	return refuse(ReasonSlotNotBootable, "stay on the booted release, or install another: `agent update --release VERSION`",
		"slot %s (%s) does not hold a whole release: %v", slot, part.Device, err)
}

// contentWrong reports whether err says that a slot's content is wrong, as
// opposed to one that keeps the agent from looking (no permission, no driver).
func contentWrong(err error) bool {
	var refused *image.RefusedError
	return errors.Is(err, errDiffers) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, metadata.ErrFormat) ||
		errors.Is(err, unix.EIO) || errors.Is(err, unix.EUCLEAN) || errors.Is(err, unix.EBADMSG) ||
		errors.As(err, &refused) && refused.Reason == image.ReasonWrongFilesystem
}

// goneBad reports whether a slot certainly does not hold a whole release.
func (n *Node) goneBad(ctx context.Context, slot grub.Slot) bool {
	var r *Refusal
	return errors.As(n.checkSlot(ctx, slot), &r)
}
