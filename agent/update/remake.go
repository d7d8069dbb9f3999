package update

import (
	"fmt"

	"tufboot/image"
)

// damaged reports whether err, of the slot that is to be written, says that its file
// system has to be made anew. beside is the other slot.
func damaged(err error, beside image.Partition) bool {
	if image.Damaged(err) {
		return true
	}
	if !image.DamagedUnlessAll(err) {
		return false
	}
	r, err := image.OpenSlot(beside)
	if err != nil {
		return false // not even that one can be mounted: it is this kernel
	}
	_ = r.Close()
	return true
}

// remaking writes the slot's files with fill. Where the slot's file system turns
// out to be damaged it is made anew, once: the slot cannot be booted, and its
// content is about to be replaced.
func (n *Node) remaking(p *Plan, part image.Partition, fill func() error) error {
	err := fill()
	if err == nil || !damaged(err, n.Disk.Slot(p.Slot.Other())) {
		return err
	}
	n.Logger.Warn("the slot's file system is damaged; making it anew", "slot", p.Slot, "device", part.Device, "error", err)
	if again := image.Remake(n.Disk, part); again != nil {
		return fmt.Errorf("%w; and: %w", err, again)
	}
	p.Remade = err.Error()
	return fill()
}
