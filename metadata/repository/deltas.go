package repository

import (
	"context"
	"fmt"

	"tufboot/metadata"
	"tufboot/metadata/chunks"
)

// Delta is what a node on an older release downloads of a new one, by the chunk maps
// of the two. It may be less: a node also looks into its other slot.
type Delta struct {
	Version string      `json:"version"`
	ID      metadata.ID `json:"id"`
	// Bytes is with the chunk maps that the node reads first.
	Bytes int64 `json:"bytes"`
	// Of is what the new release's files have, in bytes.
	Of int64 `json:"of"`
	// Requests is how many ranges of the new release's files are asked for.
	Requests int `json:"requests"`
	// Initramfs is what of Bytes is for the initramfs.
	Initramfs int64 `json:"initramfs"`
	// Unmapped says that the older release has no map of a file that the new one has
	// one of: it is not known what the node has of it, and all of it counts.
	Unmapped bool `json:"unmapped,omitempty"`
}

// deltasShown is for how many past releases of a channel Deltas are made.
const deltasShown = 3

// probes is how many of its requests a node needs to see that the files are there.
const probes = 2

// deltas returns what nodes on the last of the past releases download of a new
// one. It is a forecast: what cannot be read is left out, and stops nothing.
func (e *Edit) deltas(ctx context.Context, release *metadata.Release, id metadata.ID, past []metadata.PastRef) []Delta {
	if release.KernelChunks == nil && release.InitramfsChunks == nil {
		return nil
	}
	var deltas []Delta
	for _, ref := range past {
		if len(deltas) == deltasShown {
			break
		}
		if ref.SHA256 == id || ref.Withdrawn {
			continue
		}
		d, err := e.delta(ctx, release, ref)
		if err != nil {
			e.repo.logger.Info("it cannot be told what a node on this release downloads", "version", ref.Version, "cause", err)
			continue
		}
		deltas = append(deltas, d)
	}
	return deltas
}

// deltasTo returns what nodes on the last of the past releases download of one that
// is published.
func (e *Edit) deltasTo(ctx context.Context, ref metadata.ReleaseRef, past []metadata.PastRef) ([]Delta, error) {
	data, err := e.ReadTarget(ctx, ref.Target)
	if err != nil {
		return nil, err
	}
	release, err := metadata.ParseRelease(data)
	if err != nil {
		return nil, invalid("target %s: %w", ref.Target, err)
	}
	return e.deltas(ctx, release, ref.SHA256, past), nil
}

func (e *Edit) delta(ctx context.Context, release *metadata.Release, ref metadata.PastRef) (Delta, error) {
	d := Delta{Version: ref.Version, ID: ref.SHA256, Of: release.Size()}
	data, err := e.ReadTarget(ctx, ref.Target)
	if err != nil {
		return d, err
	}
	if metadata.IdentityOf(data) != ref.SHA256 {
		return d, fmt.Errorf("release %s is another one now", ref.Version)
	}
	old, err := metadata.ParseRelease(data)
	if err != nil {
		return d, err
	}
	const most = chunks.MaxFetches - probes
	kernel, requests, err := e.fetched(ctx, release.Kernel, old.Kernel, release.KernelChunks, old.KernelChunks, most/2)
	if err != nil {
		return d, err
	}
	d.Requests = requests
	d.Initramfs, requests, err = e.fetched(ctx, release.Initramfs, old.Initramfs, release.InitramfsChunks, old.InitramfsChunks, most-requests)
	d.Requests += requests
	d.Bytes = kernel + d.Initramfs
	d.Unmapped = release.KernelChunks != nil && old.KernelChunks == nil || release.InitramfsChunks != nil && old.InitramfsChunks == nil
	return d, err
}

// fetched returns how much of a file a node asks for that has another one.
func (e *Edit) fetched(ctx context.Context, file, old metadata.Artifact, fileMap, oldMap *metadata.Artifact, most int) (bytes int64, requests int, err error) {
	switch {
	case fileMap == nil: // also of a file that has not changed: nothing says so
		return file.Length, 1, nil
	case file.SHA256 == old.SHA256:
		return fileMap.Length, 0, nil
	case oldMap == nil:
		return file.Length, 1, nil
	}
	wanted, err := e.state.readMap(ctx, *fileMap, file.Length)
	if err != nil {
		return 0, 0, err
	}
	has, err := e.state.readMap(ctx, *oldMap, old.Length)
	if err != nil {
		return 0, 0, err
	}
	bytes, requests = chunks.Cost(wanted.Plan(wanted.In(has), most))
	return min(bytes, file.Length) + fileMap.Length, requests, nil
}

// readMap reads the chunk map of a file of length bytes.
func (st *state) readMap(ctx context.Context, of metadata.Artifact, length int64) (*chunks.Map, error) {
	data, err := st.readUpTo(ctx, of.Target, metadata.MaxChunkMap(length))
	if err != nil {
		return nil, err
	}
	m, err := chunks.Parse(data, length)
	if err != nil {
		return nil, invalid("target %s: %w", of.Target, err)
	}
	return m, nil
}
