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
	Refused string      `json:"refused,omitempty"` // the reason code of what is in the way
	Channel string      `json:"channel,omitempty"` // empty where a version was asked for
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
	// Situation is where the node stands, or would stand once Mends is done.
	Situation Situation `json:"situation"`
	// Mends is what an update would put right in the boot state first. Only Check
	// says it.
	Mends []string `json:"mends,omitempty"`
	// Held says that the slot holds the release already: it is verified and not
	// written.
	Held bool `json:"held,omitempty"`
	// Remade says what is wrong with the slot's file system, which would be made
	// anew, or was. Damage may also show only when the slot is written.
	Remade string `json:"remade,omitempty"`

	resolved *client.Resolved
}

// Check refreshes the trusted metadata and says what an update would do. want
// names a release's version, or "" for the channel's: then its steps, rollout and
// maintenance window are followed too. What is in the way is returned as an error, the
// same as from Apply, with the plan as far as it got. Nothing but the metadata cache
// is written, and the node's seed the first time that it meets a rollout.
func (n *Node) Check(ctx context.Context, want string) (Plan, error) {
	n = n.rehearse()
	p, err := n.check(ctx, want)
	p.Mends, p.Transfer = n.dry.mends, nil
	if err != nil {
		p.Install, p.Refused = false, reasonOf(err)
	}
	return p, err
}

func (n *Node) check(ctx context.Context, want string) (Plan, error) {
	s, f, situation, err := n.settle(ctx)
	if err != nil {
		return Plan{Situation: situation}, err
	}
	p, err := n.plan(ctx, s, f, situation, want)
	if err != nil || !p.Install {
		return p, err
	}
	p.Transfer = new(client.Usage)
	_, err = n.prepare(ctx, f, &p)
	return p, err
}

// plan decides what to do, in the order: may this node change now; what does
// the repository offer; does policy allow it.
func (n *Node) plan(ctx context.Context, s State, f Facts, situation Situation, want string) (Plan, error) {
	p := Plan{Situation: situation}
	if err := f.refusal(situation); err != nil {
		return p, err
	}
	booted := n.running(f)
	r, err := n.resolve(ctx, booted, want)
	if err != nil {
		return p, err
	}
	p.Channel, p.Version, p.Release, p.Size = r.Channel, r.Release.Version, r.ID, r.Release.Size()
	p.Notes, p.Slot, p.resolved = r.Release.Notes, f.inactive(), r
	if want == "" && !f.Rescue { // in a rescue system nothing runs that could wait
		if err := n.schedule(&p); err != nil {
			return p, err
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
