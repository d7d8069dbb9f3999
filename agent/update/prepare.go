package update

import (
	"context"
	"fmt"

	"tufboot/image"
	"tufboot/metadata"
)

// prepared is the slot that a release is to go into, and what belongs there.
type prepared struct {
	part  image.Partition
	files []slotFile
}

// prepare finds what stands in the way of a plan, as long as nothing has been
// changed for it: from then on the slot's old content, the proven way back, is given
// up. Damage of the slot's file system does not: it is noted in the plan, and the
// file system is made anew when the slot is nobody's way back.
func (n *Node) prepare(ctx context.Context, f Facts, p *Plan) (prepared, error) {
	files, err := slotFiles(p.resolved)
	if err != nil {
		return prepared{}, err
	}
	if err := n.writable(); err != nil {
		return prepared{}, err
	}
	to := prepared{part: n.Disk.Slot(p.Slot), files: files}
	need := p.resolved.Release.Size() + slotSlack
	if need > to.part.Size {
		return to, tooLarge(to.part.Size, need)
	}
	// A slot that somebody has mounted is refused here.
	room, err := image.Capacity(to.part)
	switch {
	case err == nil && need > room:
		return to, tooLarge(room, need)
	case err == nil:
	case damaged(err, n.Disk.Slot(p.Slot.Other())):
		p.Remade = err.Error()
		return to, nil
	default:
		return to, err
	}
	if n.slotRelease(p.Slot).ID == p.Release && !image.Unfinished(to.part) && readBack(ctx, to.part, files, nil) == nil {
		p.Held = true
		return to, nil
	}
	if !f.Block.OK(p.Slot) {
		return to, nil // nothing to lose, and maybe fetched already
	}
	return to, n.probe(ctx, p)
}

// probe asks the server for what it will be asked for once the way back is given up:
// each artifact, or the chunk map of one that a slot holds already.
func (n *Node) probe(ctx context.Context, p *Plan) error {
	held := append(n.slotRelease(p.Slot).artifacts, n.slotRelease(p.Slot.Other()).artifacts...)
	ask := func(a metadata.Artifact) error {
		p.Transfer.Requests++
		return n.Client.Probe(ctx, a)
	}
	r := p.resolved.Release
	for i, m := range []*metadata.Artifact{r.KernelChunks, r.InitramfsChunks} {
		a := r.Artifacts()[i]
		if !n.NoDelta && m != nil && worthMap(a.Length, m) && isHeld(held, a) && ask(*m) == nil {
			continue // all of it is copied
		}
		if err := ask(a); err != nil {
			return fmt.Errorf("release %s cannot be fetched, so nothing was begun: %w", p.Version, err)
		}
	}
	return nil
}

func isHeld(held []metadata.Artifact, a metadata.Artifact) bool {
	for _, h := range held {
		if h.SHA256 == a.SHA256 {
			return true
		}
	}
	return false
}
