package main

import (
	"context"

	"tufboot/grub"
)

// onward lets the machine come up after the power cut, and then update itself to the
// next release: the real agent on the rebuilt disk, from the real repository. What that
// leaves is judged by GRUB's code again. The disk is left as it was.
func (h *hearing) onward(ctx context.Context) error {
	return h.undoing(func() error {
		for range grub.Attempts + 2 {
			b, in, err := h.up(ctx)
			if err != nil || in.version == "" {
				return err
			}
			unwell := h.unwell(in.version)
			verbs := []string{verbGate, verbUpdate}
			if unwell {
				verbs = verbs[:1] // after which the machine is rebooted
			}
			answers, _, err := h.node.run(ctx, b, unwell, verbs...)
			if err != nil {
				return err
			}
			if unwell {
				continue
			}
			for i, a := range answers {
				if a.code != 0 {
					h.fail(updates, "%s, with %s in slot %s: %s", verbs[i], in.version, b.Slot, a)
					return nil
				}
			}
			return h.updated(ctx, b.Slot, in.version)
		}
		h.fail(updates, "the machine comes to no rest")
		return nil
	})
}

// up boots the disk. The content has no version if nothing good came of it.
func (h *hearing) up(ctx context.Context) (boot, content, error) {
	b, err := h.grub(ctx)
	if err != nil {
		return b, content{}, err
	}
	if b.wrong != "" {
		h.fail(updates, "%s", b.wrong)
		return b, content{}, nil
	}
	in, err := h.slot(ctx, b.Slot)
	if err == nil && in.version == "" {
		h.fail(updates, "slot %s boots: %s", b.Slot, in.wrong)
	}
	return b, in, err
}

// updated judges a disk on which the next release has just been armed, from a slot in
// which another release runs.
func (h *hearing) updated(ctx context.Context, from grub.Slot, running string) error {
	none := history{none, none, none, none}
	armed := &story{name: h.cut.story.name, first: running, candidate: next, healthy: true, history: none}
	sub := &hearing{judge: h.judge, disk: h.disk, cut: cut{story: armed, requests: h.cut.requests, draw: h.cut.draw}}
	if err := sub.try(ctx); err != nil {
		return err
	}
	b, in, err := sub.up(ctx)
	if err != nil {
		return err
	}
	if in.version != next || b.Slot != from.Other() || b.Try != 1 {
		sub.fail(updates, "the update is done, and %q in slot %s boots as try %d", in.version, b.Slot, b.Try)
	} else {
		answers, _, err := h.node.run(ctx, b, false, verbGate)
		if err != nil {
			return err
		}
		if answers[0].code != 0 {
			sub.fail(updates, "its health gate: %s", answers[0])
		}
		committed := *armed
		committed.first = next
		sub.cut.story = &committed
		if err := sub.try(ctx); err != nil {
			return err
		}
	}
	for _, v := range sub.found {
		h.fail(updates, "after the next update: %s: %s", v.invariant, v.detail)
	}
	return nil
}
