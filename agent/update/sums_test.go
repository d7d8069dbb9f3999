package update_test

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata"
)

// TestSlotHasSums: the list that GRUB checks the slot by is right for every file.
func TestSlotHasSums(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	disk, err := image.Find(image.FindOptions{Disk: r.loop, Labels: image.DefaultLabels()})
	must(t, err)
	list, err := image.ReadSlotFile(disk.Slot(grub.SlotB), grub.SumsFile, 4096)
	must(t, err)
	named := make(map[string]bool)
	for line := range strings.Lines(string(list)) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		data, err := image.ReadSlotFile(disk.Slot(grub.SlotB), name, 64<<20)
		must(t, err)
		if !ok || sum != fmt.Sprintf("%x", sha256.Sum256(data)) {
			t.Errorf("%s: the list says %s", name, sum)
		}
		named[name] = true
	}
	for _, name := range []string{grub.KernelFile, grub.InitramfsFile, grub.CmdlineFile, metadata.ManifestFile} {
		if !named[name] {
			t.Errorf("%s is not in the list", name)
		}
	}
}

// TestCorruptTrialSlot has GRUB find, by its list, that the armed slot has lost
// something: the other slot boots, and the agent says why.
func TestCorruptTrialSlot(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.update()
	env := grub.Env{Path: r.grubenv, LastGood: filepath.Join(filepath.Dir(r.grubenv), "last-good")}
	_, err := env.Update(func(s grub.State) (grub.State, error) {
		next, o := s.Boot(grub.Facts{LastGood: grub.SlotA, Check: grub.CheckTrial, SumsA: grub.SumsMatch, SumsB: grub.SumsDiffer})
		r.booted = grub.Booted{Slot: o.Slot, BootID: o.BootID, Try: o.Try, CorruptA: o.CorruptA, CorruptB: o.CorruptB}
		return next, nil
	})
	must(t, err)
	r.kernelID = "boot-2"
	if r.booted.Slot != grub.SlotA || !r.booted.Corrupt(grub.SlotB) {
		t.Fatalf("booted %+v", r.booted)
	}
	st, err := r.node().Status()
	must(t, err)
	if len(st.Alarms) != 1 || !strings.Contains(st.Alarms[0], "slot B") {
		t.Errorf("alarms %q", st.Alarms)
	}
	_, err = r.gate(true)
	must(t, err)
	r.wantSituation(update.SituationCommitted)
	if st, err = r.node().Status(); err != nil || len(st.Failed) != 1 || !strings.Contains(st.Failed[0].Why, "storage") {
		t.Errorf("failed releases %+v, %v", st.Failed, err)
	}
}
