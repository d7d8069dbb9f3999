package update

import (
	"context"
	"fmt"

	"tufboot/image"
	"tufboot/metadata"
)

// mapName is the name of an artifact's chunk map in the slot.
func mapName(file slotFile) string { return file.name + metadata.ChunksSuffix }

// keepMap puts the chunk map of an artifact that is there beside it: by that the
// next update finds without reading the artifact what it can take from it. A map is
// a help and no part of the release, so a slot that has no room for it goes without,
// and so does a long one that the download had no use for.
// kept is false where there is none.
func (n *Node) keepMap(ctx context.Context, w *image.Writer, file slotFile) (beside slotFile, kept bool, err error) {
	d := file.delta
	if d == nil || !d.kept() {
		return slotFile{}, false, nil
	}
	beside = slotFile{name: mapName(file), sha256: d.target.SHA256}
	if held, err := n.holds(ctx, w, beside); held || err != nil {
		return beside, held, err
	}
	length := d.target.Length
	m, err := n.chunkMap(ctx, d, *file.artifact)
	if m == nil || err != nil {
		return slotFile{}, false, err
	}
	free, err := w.Free()
	if err != nil {
		return slotFile{}, false, err
	}
	if free < length+slotSlack {
		n.Logger.Warn("the slot has no room for a chunk map", "file", beside.name, "free", free)
		return slotFile{}, false, nil
	}
	if beside.data, err = m.Encode(); err != nil {
		return slotFile{}, false, fmt.Errorf("%s: %w", beside.name, err)
	}
	return beside, true, w.WriteLater(beside.name, beside.data)
}
