package update_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"tufboot/grub"
	"tufboot/internal/faultdisk"
)

const blockToken = "feedfacecafebeef"

func arm(s grub.State) (grub.State, error) { return s.Arm(grub.SlotB, blockToken) }

// newWatchedBlock returns an environment block in a file of which the test sees every
// write and flush, in order.
func newWatchedBlock(t *testing.T) (grub.Env, *faultdisk.Disk, *[]string) {
	t.Helper()
	dir := t.TempDir()
	content, path := filepath.Join(dir, "content"), filepath.Join(dir, grub.EnvFile)
	must(t, errors.Join(os.WriteFile(content, grub.InitialBlock(grub.SlotA), 0o600), os.WriteFile(path, nil, 0o600)))
	file, err := os.OpenFile(content, os.O_RDWR, 0)
	must(t, err)
	disk, err := faultdisk.Mount(path, file)
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(disk.Close(), file.Close())) })
	var events []string
	disk.OnWrite(func(at int64, b []byte) error {
		events = append(events, fmt.Sprintf("write %d+%d", at, len(b)))
		return nil
	})
	disk.OnFlush(func() error { events = append(events, "flush"); return nil })
	return grub.Env{Path: path}, disk, &events
}

// TestBlockIsOneSector: a transition is one write of one sector, and a flush behind it.
func TestBlockIsOneSector(t *testing.T) {
	env, _, events := newWatchedBlock(t)
	for name, transition := range map[string]func(grub.State) (grub.State, error){
		"arm": arm, "give up": func(s grub.State) (grub.State, error) { return s.Rollback(grub.SlotA) },
		"invalidate": func(s grub.State) (grub.State, error) { return s.Invalidate(s.Active.Other()) },
	} {
		before, err := env.Read()
		must(t, err)
		*events = nil
		after, err := env.Update(transition)
		if err != nil || after == before {
			continue // not from here
		}
		if want := []string{"write 0+512", "flush"}; !slices.Equal(*events, want) {
			t.Errorf("%s: %q, want %q", name, *events, want)
		}
	}
	if len(*events) == 0 {
		t.Error("nothing was written")
	}
}

// TestBlockPowerCut: a transition that was reported is there after a power cut that
// empties the drive's cache.
func TestBlockPowerCut(t *testing.T) {
	env, disk, _ := newWatchedBlock(t)
	disk.Hold()
	want, err := env.Update(arm)
	must(t, err)
	cut := filepath.Join(t.TempDir(), "cut")
	must(t, disk.PowerCut(cut))
	if got, err := (grub.Env{Path: cut}).Read(); err != nil || got != want {
		t.Errorf("after the cut: %+v, %v; armed was %+v", got, err, want)
	}
}

// TestBlockOnLyingDevice has a device that stores another state than it is given,
// behind the page cache: who arms is told.
func TestBlockOnLyingDevice(t *testing.T) {
	r := newFaultyRig(t)
	point := t.TempDir()
	r.run("mount", r.loop+"p4", point)
	defer r.run("umount", point)
	env := grub.Env{Path: filepath.Join(point, grub.EnvFile)}
	must(t, os.WriteFile(env.Path, grub.InitialBlock(grub.SlotA), 0o600))
	r.run("sync", "-f", point)
	var lied atomic.Bool
	r.fault.OnWrite(func(_ int64, b []byte) error {
		if i := bytes.Index(b, []byte("boot_counter=3")); i >= 0 {
			b[i+len("boot_counter=")] = '1'
			lied.Store(true)
		}
		return nil
	})
	_, err := env.Update(arm)
	r.fault.OnWrite(nil)
	if err == nil || !lied.Load() {
		t.Errorf("the device lied (%t), and Update said %v", lied.Load(), err)
	}
}
