package update

import (
	"context"
	"errors"
	"io"

	"tufboot/image"
	"tufboot/metadata"
	"tufboot/metadata/chunks"
	"tufboot/metadata/client"
)

// transfer is the cost of bringing a release into a slot, and what its artifacts
// may still cost: for how many parts a server is asked. What is saved must not
// cost more round trips than it is worth.
type transfer struct {
	usage    *client.Usage
	requests int // left of chunks.MaxFetches
	files    int // that have not had their share
	other    *otherSlot
}

// worth is how many times a chunk map's size must be missing for the map to be
// asked for.
const worth = 10

// The longest chunk maps in bytes: those of about 1.5 GB to work with, and of about
// 550 MB where a map would only be fetched to lie in the slot. They bound the memory
// of an update whatever its payload, since a map in use takes more than its own length.
const (
	maxMap  = 3 << 20
	maxKept = 9 << 17
)

// worthMap reports whether a chunk map is asked for where so many bytes of its
// artifact are missing.
func worthMap(missing int64, m *metadata.Artifact) bool {
	return m.Length <= maxMap && missing > worth*m.Length
}

// share returns how many requests the next file may take: what is left, shared
// with those that come after it, as the publisher reckons it too.
func (t *transfer) share() int {
	n := t.requests / max(t.files, 1)
	t.files--
	return max(n, 1)
}

// delta is of what an artifact can be put together besides what comes from the
// server.
type delta struct {
	transfer *transfer
	target   *metadata.Artifact // the chunk map; nil: all is fetched
	chunks   *chunks.Map        // the same, once it was fetched
}

// on reports whether there is, or may be, a chunk map to work with.
func (d *delta) on() bool { return d.target != nil }

// kept reports whether the map is to be in the slot for the next update.
func (d *delta) kept() bool { return d.on() && (d.chunks != nil || d.target.Length <= maxKept) }

// off has all be fetched from now on.
func (d *delta) off() { d.target, d.chunks = nil, nil }

// planDelta adds to the files of a release of what they can be put together. done
// gives up what was opened for that.
func (n *Node) planDelta(p Plan, files []slotFile) (done func()) {
	r := p.resolved.Release
	t := &transfer{
		usage: p.Transfer, requests: chunks.MaxFetches - p.Transfer.Requests, files: len(r.Artifacts()),
		other: &otherSlot{part: n.Disk.Slot(p.Slot.Other())},
	}
	maps := map[string]*metadata.Artifact{metadata.KernelFile: r.KernelChunks, metadata.InitramfsFile: r.InitramfsChunks}
	for i := range files {
		if files[i].artifact == nil {
			continue
		}
		d := &delta{transfer: t, target: maps[files[i].name]}
		if n.NoDelta {
			d.off()
		}
		if d.on() && d.target.Length > maxMap {
			n.Logger.Info("the chunk map is too long to work with; fetching the whole file", "map", d.target.Target, "bytes", d.target.Length, "at_most", maxMap)
			d.off()
		}
		files[i].delta = d
	}
	return t.other.close
}

// claim claims the slot. Its old files are kept as seeds where they can serve.
func claim(w *image.Writer, id metadata.ID, files []slotFile) (resumed bool, err error) {
	// Twice the slack: some of it is used up before the space is looked at again.
	room := image.Room{Files: map[string]int64{}, Slack: 2 * slotSlack}
	wanted := false
	for _, file := range files {
		if file.artifact == nil {
			continue
		}
		room.Files[file.name] = file.artifact.Length
		if file.delta.on() {
			room.Files[mapName(file)] = file.delta.target.Length
			wanted = true
		}
	}
	if wanted {
		return w.ClaimKeeping(string(id), room)
	}
	if resumed, err = w.Claim(string(id)); err != nil {
		return resumed, err
	}
	return resumed, w.RemoveSeeds()
}

// startOver deals with an unverified part that is wrong, and reports whether
// another try makes sense. What was held when the run began may be to blame, or
// the chunk map: each is done without once. What was held becomes a seed, since
// most of it may be right.
func startOver(w *image.Writer, file slotFile, held int64, cause error) (again bool, err error) {
	wrongMap := errors.Is(cause, client.ErrDelta)
	if wrongMap {
		file.delta.off()
	}
	if held == 0 || !file.delta.on() {
		return held > 0 || wrongMap, w.Discard(file.name)
	}
	if err := w.SetAside(file.name); err != nil {
		return false, err
	}
	return true, w.MakeRoom(image.Room{Files: map[string]int64{file.name: file.artifact.Length}, Slack: slotSlack})
}

// download completes an artifact of which have is held. The rest is written to
// dst, and fetched as far as the slots do not hold it already.
func (n *Node) download(ctx context.Context, w *image.Writer, file slotFile, have *io.SectionReader, dst io.Writer) error {
	a, d := *file.artifact, file.delta
	from := client.Delta{MaxRequests: d.transfer.share()}
	if d.on() && worthMap(a.Length-have.Size(), d.target) {
		seeds := n.openSeeds(w, file)
		defer seeds.close()
		if len(seeds.list) > 0 {
			var err error
			if from.Map, err = n.chunkMap(ctx, d, a); err != nil {
				return err
			}
			from.Seeds = seeds.list
		}
	}
	usage, err := n.Client.DownloadDelta(ctx, a, from, have, dst, func(done int64) {
		n.Progress(file.name, done, a.Length)
	})
	d.transfer.usage.Add(usage)
	d.transfer.requests = max(d.transfer.requests-usage.Requests, 0)
	return err
}

// chunkMap returns an artifact's map, nil where it is of no use. An error is the
// context's.
func (n *Node) chunkMap(ctx context.Context, d *delta, a metadata.Artifact) (*chunks.Map, error) {
	if d.chunks != nil {
		return d.chunks, nil
	}
	m, usage, err := n.Client.ChunkMap(ctx, *d.target, a)
	d.transfer.usage.Add(usage)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		n.Logger.Warn("there is no chunk map to work with", "map", d.target.Target, "error", err)
		d.off()
		return nil, nil
	}
	d.chunks = m
	return m, nil
}
