package update

import (
	"fmt"

	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata"
	"tufboot/metadata/client"
)

// Status is all that an operator can ask of a node without a network.
type Status struct {
	Situation Situation                 `json:"situation"`
	Booted    BootedStatus              `json:"booted"`
	Boot      *BootStatus               `json:"boot,omitempty"` // nil: the block is damaged
	Slots     map[grub.Slot]SlotRelease `json:"slots"`
	Disk      *image.Disk               `json:"disk"`
	Channel   string                    `json:"channel"`
	Staged    *Staged                   `json:"staged,omitempty"`
	Trial     *Trial                    `json:"trial,omitempty"`
	LastCheck *LastCheck                `json:"last_check,omitempty"`
	Failed    []Failure                 `json:"failed,omitempty"`
	Metadata  *client.Trust             `json:"metadata,omitempty"`
	// Alarms are what an operator has to look at; empty on a sound node.
	Alarms []string `json:"alarms,omitempty"`
}

// BootedStatus is what GRUB told the running kernel.
type BootedStatus struct {
	Slot   grub.Slot `json:"slot,omitempty"`
	Try    int       `json:"try"` // 0: not a trial boot
	BootID string    `json:"boot_id,omitempty"`
}

// BootStatus is the environment block.
type BootStatus struct {
	Active  grub.Slot `json:"active_slot"`
	Success bool      `json:"boot_success"`
	Counter int       `json:"boot_counter"`
	AOK     bool      `json:"A_ok"`
	BOK     bool      `json:"B_ok"`
	BootID  string    `json:"boot_id,omitempty"`
}

// Status reads where the node stands. It writes nothing. The rollout and the
// maintenance window are those of the last check, as they are now.
func (n *Node) Status() (Status, error) {
	s, err := peekState(n.StateDir)
	if err != nil {
		return Status{}, err
	}
	f, err := n.facts(s)
	if err != nil {
		return Status{}, err
	}
	st := Status{
		Situation: f.Situation(),
		Booted:    BootedStatus{Slot: f.Booted.Slot, Try: f.Booted.Try, BootID: f.Booted.BootID},
		Slots:     map[grub.Slot]SlotRelease{},
		Disk:      n.Disk,
		Channel:   n.Channel,
		Staged:    s.Staged, Trial: s.Trial, LastCheck: s.LastCheck, Failed: s.Failed,
	}
	if f.BlockErr == nil {
		b := f.Block
		st.Boot = &BootStatus{Active: b.Active, Success: b.Success, Counter: b.Counter, AOK: b.AOK, BOK: b.BOK, BootID: b.BootID}
	}
	for _, slot := range []grub.Slot{grub.SlotA, grub.SlotB} {
		st.Slots[slot] = n.slotRelease(slot)
	}
	st.Alarms = alarms(f, st)
	if c := st.LastCheck; c != nil {
		now := n.Now()
		if c.Turn != nil {
			*c.Turn = c.Turn.at(now)
		}
		if c.Window != nil && c.Window.Maintenance != nil {
			*c.Window = c.Window.at(now, n.local())
		}
	}
	return st, nil
}

func alarms(f Facts, st Status) []string {
	var list []string
	if f.BlockErr != nil {
		list = append(list, fmt.Sprintf("the environment block is damaged: %v", f.BlockErr))
	}
	for _, slot := range []grub.Slot{grub.SlotA, grub.SlotB} {
		if f.Booted.Corrupt(slot) {
			list = append(list, fmt.Sprintf("before this boot GRUB found that slot %s did not hold what had been written to it", slot))
		}
	}
	if st.Situation == SituationMismatch {
		list = append(list, fmt.Sprintf("GRUB did not do what was armed: %v", f.Handshake()))
	}
	if held := st.Slots[f.Booted.Slot]; f.Booted.Slot != "" && held.Problem != "" {
		list = append(list, fmt.Sprintf("the booted slot %s: %s", f.Booted.Slot, held.Problem))
	}
	return list
}

// heldFiles lists what a slot must hold by its own manifest.
func heldFiles(part image.Partition) ([]slotFile, error) {
	manifest, err := image.ReadSlotFile(part, metadata.ManifestFile, metadata.MaxManifestSize)
	if err != nil {
		return nil, err
	}
	r, err := metadata.ParseRelease(manifest)
	if err != nil {
		return nil, err
	}
	files, err := slotFiles(&client.Resolved{Release: r, Manifest: manifest, ID: metadata.IdentityOf(manifest)})
	for i := range files {
		if files[i].name == grub.CmdlineFile {
			files[i].sha256 = "" // another version of the agent may have worded it otherwise
		}
	}
	return files, err
}
