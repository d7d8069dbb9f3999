package update_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/internal/atomicfile"
)

// TestKilledBeforeClearingUp leaves in the slot what a run does that is killed when the
// last file has its name: old files beside the release. The next run removes them.
func TestKilledBeforeClearingUp(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	p, err := r.node().Apply(t.Context(), "")
	must(t, err)
	point := t.TempDir()
	left := []string{"release.unverified", "vmlinuz.seed", "initramfs.seed"}
	r.run("mount", r.loop+"p3", point)
	for _, name := range left {
		must(t, os.WriteFile(filepath.Join(point, name), []byte(p.Release), 0o600))
	}
	r.run("umount", point)
	r.update()
	r.wantSlot(grub.SlotB, "2")
	r.run("mount", "-o", "ro", r.loop+"p3", point)
	defer r.run("umount", point)
	for _, name := range left {
		if _, err := os.Stat(filepath.Join(point, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there (%v)", name, err)
		}
	}
}

// TestKilledWhileSaving leaves in the state folder what a run does that is killed while
// it saves the state.
func TestKilledWhileSaving(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, atomicfile.TempPrefix+"1")
	must(t, os.WriteFile(left, nil, 0o600))
	l, err := update.Acquire(t.Context(), dir, false)
	must(t, err)
	defer l.Release()
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there (%v)", err)
	}
}
