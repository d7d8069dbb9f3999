package update

import (
	"context"
	"errors"
	"io/fs"

	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata"
	"tufboot/metadata/client"
)

// Plan is what an update would do, or did.
type Plan struct {
	// Install says that an update would write the release, or did; false where
	// the node runs it already, or is not to have it now.
	Install bool        `json:"install"`
	Refused string      `json:"refused,omitempty"` // the reason code, if it is not to have it now
	Channel string      `json:"channel"`
	Version string      `json:"version"`
	Release metadata.ID `json:"release"`
	Size    int64       `json:"size"` // of the artifacts, in bytes
	Notes   string      `json:"notes,omitempty"`
	Slot    grub.Slot   `json:"slot"` // the slot that is, or would be, written
	// Final is the channel's release, where Version is a step on the way there.
	Final  string  `json:"final,omitempty"`
	Turn   *Turn   `json:"rollout,omitempty"`     // nil: no rollout, everybody at once
	Window *Window `json:"maintenance,omitempty"` // nil: at any time
	// Transfer is what the release's artifacts and chunk maps have cost; nil:
	// nothing was installed.
	Transfer *client.Usage `json:"transfer,omitempty"`
	// Remade says what was wrong with the slot's file system, which was made anew.
	Remade string `json:"remade,omitempty"`

	resolved *client.Resolved
}

// Check refreshes the trusted metadata and says what an update would do. want
// names a release's version, or "" for the channel's: then its steps, rollout and
// maintenance window are followed too. A refusal is returned as an error, with
// the plan where it is about a release. Nothing but the metadata cache is
// written, and the node's seed the first time that it meets a rollout.
func (n *Node) Check(ctx context.Context, want string) (Plan, error) {
	s, err := LoadState(n.StateDir, n.Logger)
	if err != nil {
		return Plan{}, err
	}
	f, err := n.facts(s)
	if err != nil {
		return Plan{}, err
	}
	situation := f.Situation()
	s, _ = n.settled(s, f, situation)
	return n.plan(ctx, s, f, situation, want)
}

// plan decides what to do, in the order: may this node change now; what does
// the repository offer; does policy allow it.
func (n *Node) plan(ctx context.Context, s State, f Facts, situation Situation, want string) (Plan, error) {
	if err := f.refusal(situation); err != nil {
		return Plan{}, err
	}
	booted := n.running(f)
	r, err := n.resolve(ctx, booted, want)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{
		Channel: r.Channel, Version: r.Release.Version, Release: r.ID, Size: r.Release.Size(),
		Notes: r.Release.Notes, Slot: f.inactive(), resolved: r,
	}
	if want == "" && !f.Rescue { // in a rescue system nothing runs that could wait
		if err := n.schedule(&p); err != nil {
			return Plan{}, err
		}
	}
	if booted.ID == r.ID {
		return p, nil
	}
	if err := n.objection(s, p, want); err != nil {
		p.Refused = reasonOf(err)
		return p, err
	}
	p.Install = true
	return p, nil
}

// objection says why the planned release is not to be installed by itself. What
// was asked for by name is.
func (n *Node) objection(s State, p Plan, want string) error {
	if want != "" {
		return nil
	}
	if failure, failed := s.FailedBefore(p.Release); failed {
		return refuse(ReasonFailedBefore,
			"publish a fixed release, or try this one again with --release "+p.Version,
			"release %s (%s) was tried on %s and given up: %s", failure.Version, failure.Release.Short(), failure.At.Format("2006-01-02 15:04 MST"), failure.Why)
	}
	return n.wait(p)
}

// SlotRelease is the release that a slot's manifest names.
type SlotRelease struct {
	ID      metadata.ID `json:"release,omitempty"`
	Version string      `json:"version,omitempty"`
	Problem string      `json:"problem,omitempty"` // why the manifest cannot be read

	artifacts []metadata.Artifact
}

// running returns the booted slot's release; zero in a rescue system.
func (n *Node) running(f Facts) SlotRelease {
	if f.Rescue {
		return SlotRelease{}
	}
	return n.slotRelease(f.Booted.Slot)
}

// slotRelease reads a slot's manifest as GRUB would see it.
func (n *Node) slotRelease(slot grub.Slot) SlotRelease {
	manifest, err := image.ReadSlotFile(n.Disk.Slot(slot), metadata.ManifestFile, metadata.MaxManifestSize)
	if errors.Is(err, fs.ErrNotExist) {
		return SlotRelease{Problem: "no release manifest"}
	}
	if err != nil {
		return SlotRelease{Problem: err.Error()}
	}
	r, err := metadata.ParseRelease(manifest)
	if err != nil {
		return SlotRelease{Problem: err.Error()}
	}
	return SlotRelease{ID: metadata.IdentityOf(manifest), Version: r.Version, artifacts: r.Artifacts()}
}
