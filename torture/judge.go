package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tufboot/grub"
)

// The invariants. Each violation names one of them.
const (
	bootsSomething = "something-verified-boots"
	neverUncounted = "never-unproven-uncounted"
	neverHalf      = "never-half-written"
	neverLost      = "committed-never-lost"
	lostBlock      = "lost-block-boots-proven"
	startsUp       = "agent-starts"
	truthful       = "status-tells-the-truth"
	updates        = "next-update-succeeds" // of those that are updated, or booted whole
)

// violation is an invariant that does not hold.
type violation struct {
	invariant string
	cut       cut
	detail    string
}

// judge says what is wrong with a disk after a power cut. Its answers are shared
// by all disks.
type judge struct {
	emulator *emulator
	releases map[string]digests // by version
	envAt    int64              // where the environment block is on the disk, in bytes

	boots  memo[boot]
	slots  memo[content]
	starts memo[start]
}

// hearing is the trial of one disk.
type hearing struct {
	*judge
	disk  *disk
	node  *node // runs the agent on the disk; nil: it is not asked
	cut   cut
	found []violation

	asked  int // how often the agent was started
	forgot int // of these, so often without DATA
}

func (h *hearing) fail(invariant, format string, args ...any) {
	h.found = append(h.found, violation{invariant, h.cut, fmt.Sprintf(format, args...)})
}

// try judges a disk, and leaves it as it was.
func (h *hearing) try(ctx context.Context) error {
	return h.undoing(func() error {
		if err := h.withoutBlock(ctx); err != nil {
			return err
		}
		// Before GRUB sees them: it looks at the sums of a slot, and would hide from us
		// that it was armed unfinished.
		if err := h.bothSlots(ctx); err != nil {
			return err
		}
		if ok, err := h.firstBoot(ctx); err != nil || !ok {
			return err
		}
		return h.comeToRest(ctx)
	})
}

// undoing takes back what fn does to the disk.
func (h *hearing) undoing(fn func() error) error {
	mark := h.disk.mark()
	return errors.Join(fn(), h.disk.undo(mark))
}

// grub boots the disk and leaves on it what GRUB wrote.
func (h *hearing) grub(ctx context.Context) (boot, error) {
	b, err := h.boots.ask(h.disk, "", func() (boot, error) { return h.emulator.run(ctx, h.disk) },
		func(b *boot, writes []change) { b.writes = writes })
	if err != nil {
		return b, err
	}
	for _, w := range b.writes {
		if err := h.disk.write(w.offset, w.bytes); err != nil {
			return b, err
		}
	}
	return b, nil
}

// slot returns what GRUB finds in a slot.
func (h *hearing) slot(ctx context.Context, slot grub.Slot) (content, error) {
	return h.slots.ask(h.disk, string(slot), func() (content, error) {
		return readSlot(ctx, h.disk.path, slot, h.releases)
	}, nil)
}

// state returns the boot state on the disk.
func (h *hearing) state() (grub.State, error) {
	sector, err := h.disk.read(h.envAt, sectorSize)
	if err != nil {
		return grub.State{}, err
	}
	return decodeState(sector)
}

// firstBoot boots what the power cut left: a whole release, and one that is not
// proven only if the boot was counted. ok is false if nothing boots.
func (h *hearing) firstBoot(ctx context.Context) (ok bool, err error) {
	before, broken := h.state()
	if broken != nil {
		// It is one sector, so no cut can damage it.
		h.fail(bootsSomething, "the environment block is damaged: %v", broken)
	}
	b, err := h.grub(ctx)
	if err != nil {
		return false, err
	}
	if b.wrong != "" {
		h.fail(bootsSomething, "%s", b.wrong)
		return false, nil
	}
	in, err := h.slot(ctx, b.Slot)
	if err != nil {
		return false, err
	}
	if in.wrong != "" {
		h.fail(neverHalf, "slot %s boots: %s", b.Slot, in.wrong)
		return false, nil
	}
	after, err := h.state()
	if err != nil {
		h.fail(bootsSomething, "GRUB left the environment block damaged: %v", err)
		return false, nil
	}
	counted := after.Trial() && after.Active == b.Slot && after.Counter == before.Counter-1 &&
		b.Try == grub.Attempts-after.Counter && b.BootID != "" && b.BootID == before.BootID
	if !counted && !slices.Contains(h.cut.story.proven(h.cut.requests), in.version) {
		h.fail(neverUncounted, "%s in slot %s boots as try %d with %+v; before: %+v", in.version, b.Slot, b.Try, after, before)
	}
	return true, h.agent(ctx, b)
}

// bothSlots: what may be booted is whole, also if it is not what boots first.
func (h *hearing) bothSlots(ctx context.Context) error {
	state, err := h.state()
	if err != nil {
		return nil //nolint:nilerr // firstBoot says so
	}
	for _, slot := range []grub.Slot{grub.SlotA, grub.SlotB} {
		if !state.OK(slot) && state.Active != slot {
			continue
		}
		in, err := h.slot(ctx, slot)
		if err != nil {
			return err
		}
		if in.wrong != "" {
			h.fail(neverHalf, "slot %s may be booted: %s", slot, in.wrong)
		}
	}
	return nil
}

// comeToRest boots again and again, no boot ending well, until GRUB changes
// nothing any more. What boots then must be proven, and not older than what was
// committed for good.
func (h *hearing) comeToRest(ctx context.Context) error {
	for boots := range grub.Attempts + 2 {
		b, err := h.grub(ctx)
		if err != nil {
			return err
		}
		if b.wrong != "" {
			h.fail(neverLost, "after failed boots %s", b.wrong)
			return nil
		}
		if len(b.writes) > 0 {
			continue
		}
		in, err := h.slot(ctx, b.Slot)
		if err != nil {
			return err
		}
		if may := h.cut.story.rests(h.cut.requests); !slices.Contains(may, in.version) {
			h.fail(neverLost, "the machine comes to rest with %q in slot %s (%s), not with one of %v", in.version, b.Slot, in.wrong, may)
		}
		if boots == 0 { // as the first time
			return nil
		}
		return h.agent(ctx, b)
	}
	h.fail(neverLost, "GRUB comes to no rest")
	return nil
}

// withoutBlock wears the environment block out: last-good must lead to a proven
// release, whole.
func (h *hearing) withoutBlock(ctx context.Context) error {
	return h.undoing(func() error {
		if err := h.disk.write(h.envAt, make([]byte, sectorSize)); err != nil {
			return err
		}
		b, err := h.grub(ctx)
		if err != nil {
			return err
		}
		if b.wrong != "" {
			h.fail(lostBlock, "%s", b.wrong)
			return nil
		}
		in, err := h.slot(ctx, b.Slot)
		if err != nil {
			return err
		}
		if !slices.Contains(h.cut.story.proven(h.cut.requests), in.version) {
			h.fail(lostBlock, "without the environment block slot %s boots, which holds %q (%s)", b.Slot, in.version, in.wrong)
		}
		return nil
	})
}
