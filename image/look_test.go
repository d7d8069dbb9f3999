package image_test

import (
	"testing"

	"tufboot/image"
)

// TestCheckESP says the same as OpenESP for writing, and writes nothing.
func TestCheckESP(t *testing.T) {
	for name, test := range map[string]struct {
		arrange func(t *testing.T, device string)
		reason  string
	}{
		"not mounted":       {func(*testing.T, string) {}, ""},
		"mounted":           {func(t *testing.T, device string) { mountAt(t, device, "rw") }, ""},
		"mounted read-only": {func(t *testing.T, device string) { mountAt(t, device, "ro") }, image.ReasonESPReadOnly},
		"read-only device": {func(t *testing.T, device string) {
			run(t, "util-linux", "", "blockdev", "--setro", device)
			t.Cleanup(func() { run(t, "util-linux", "", "blockdev", "--setrw", device) })
		}, image.ReasonESPReadOnly},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, labels()...).find()
			test.arrange(t, d.EFI.Device)
			err := image.CheckESP(d)
			m, opened := image.OpenESP(d, false)
			if opened == nil {
				opened = m.Close()
			}
			if (err == nil) != (opened == nil) {
				t.Errorf("it says %v, and opening it %v", err, opened)
			}
			if test.reason != "" {
				wantRefusal(t, err, test.reason)
			}
		})
	}
}

// TestCapacity is what an emptied slot has room for.
func TestCapacity(t *testing.T) {
	d := newDisk(t, labels()...).find()
	before, err := image.Capacity(d.SystemA)
	if err != nil {
		t.Fatal(err)
	}
	var free int64
	err = image.WriteSlot(d.SystemA, func(w *image.Writer) (err error) {
		free, err = w.Free()
		if err != nil {
			return err
		}
		return w.WriteFile("vmlinuz", noise(1, 1<<20))
	})
	if err != nil {
		t.Fatal(err)
	}
	if before < free || before > free+64<<10 {
		t.Errorf("capacity %d, but %d bytes of the empty slot are free", before, free)
	}
	if after, err := image.Capacity(d.SystemA); err != nil || after != before {
		t.Errorf("capacity %d of a full slot, %v, want %d", after, err, before)
	}
	mountAt(t, d.SystemA.Device, "ro")
	_, err = image.Capacity(d.SystemA)
	wantRefusal(t, err, image.ReasonSlotMounted)
}
