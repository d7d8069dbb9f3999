package image_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"tufboot/image"
)

// What was downloaded before a stream was given up is there after a power cut: the
// next run goes on from it.
func TestPowerCutAfterClose(t *testing.T) {
	p, disk := newFaultySlot(t)
	content := noise(5, 2<<20+77)
	held := content[:1<<20+4097]
	copied := filepath.Join(t.TempDir(), "after-the-cut")
	disk.Hold()
	err := image.WriteSlot(p, func(w *image.Writer) error {
		s, err := w.Stream("initramfs", int64(len(content)))
		if err != nil {
			return err
		}
		if _, err := s.Write(held); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		return disk.PowerCut(copied)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = image.WriteSlot(newDiskFrom(t, copied).find().SystemB, func(w *image.Writer) error {
		s, err := w.Stream("initramfs", int64(len(content)))
		if err != nil {
			return err
		}
		got, err := io.ReadAll(s.Held())
		if !bytes.Equal(got, held) {
			t.Errorf("%d bytes are there, not the %d that were written", len(got), len(held))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A file that has its final name has its content after a power cut that empties the
// drive's cache, too.
func TestPowerCutEmptiesCache(t *testing.T) {
	p, disk := newFaultySlot(t)
	content := pattern("all of it ", 1<<20)
	copied := filepath.Join(t.TempDir(), "after-the-cut")
	disk.Hold()
	err := image.WriteSlot(p, func(w *image.Writer) error {
		if err := w.WriteFile("vmlinuz", content); err != nil {
			return err
		}
		return disk.PowerCut(copied)
	})
	if err != nil {
		t.Fatal(err)
	}
	cut := newDiskFrom(t, copied).find().SystemB
	if err := image.WriteSlot(cut, func(*image.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got, err := readBack(cut, "vmlinuz"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// When WriteSlot has returned, everything is on the device, whatever its cache loses.
func TestPowerCutAfterUnmount(t *testing.T) {
	p, disk := newFaultySlot(t)
	content := pattern("nobody waited for it ", 1<<20)
	copied := filepath.Join(t.TempDir(), "after-the-cut")
	disk.Hold()
	err := image.WriteSlot(p, func(w *image.Writer) error { return w.WriteLater("map", content) })
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.PowerCut(copied); err != nil {
		t.Fatal(err)
	}
	if got, err := readBack(newDiskFrom(t, copied).find().SystemB, "map"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A drive that says only at the last flush that it could not write is heard.
func TestFlushFails(t *testing.T) {
	p, disk := newFaultySlot(t)
	var ended atomic.Bool
	var flushes atomic.Int64
	write := func(failing int64) error {
		ended.Store(false)
		flushes.Store(0)
		disk.OnFlush(func() error {
			if ended.Load() && flushes.Add(1) == failing {
				return syscall.EIO
			}
			return nil
		})
		return image.WriteSlot(p, func(w *image.Writer) error {
			err := w.WriteLater("map", noise(3, 70_000))
			ended.Store(true)
			return err
		})
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	if err := write(flushes.Load()); err == nil {
		t.Error("the last flush failed, and nobody was told")
	}
}

// A write that fails after the last file was written is told.
func TestLastWritesFail(t *testing.T) {
	p, disk := newFaultySlot(t)
	content := noise(8, 1<<20)
	err := image.WriteSlot(p, func(w *image.Writer) error {
		disk.OnWrite(func(_ int64, b []byte) error {
			if bytes.Contains(b, content[4096:8192]) {
				return syscall.EIO
			}
			return nil
		})
		return w.WriteLater("map", content)
	})
	if err == nil {
		t.Error("a file could not be written, and nobody was told")
	}
}

// What is read behind the writes is what the device has now, and not what the kernel has
// kept of it from before.
func TestStreamReadsPastTheCache(t *testing.T) {
	p, _ := newSlot(t)
	content := noise(9, 2<<20)
	readings, err := stream(p, "vmlinuz", content, func(*image.Stream) {
		if _, err := os.ReadFile(p.Device); err != nil { // now the kernel has all of it
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := readings["vmlinuz"]; !ok || r.SHA256 != sum(content) {
		t.Errorf("read back something else (%t)", ok)
	}
}

// A file system that turns out to be damaged when everything is written is not built
// upon, and the error says that it has to be made anew.
func TestDamageFoundWhileWriting(t *testing.T) {
	p, _ := newSlot(t)
	err := image.WriteSlot(p, func(w *image.Writer) error {
		if err := w.WriteFile("vmlinuz", noise(10, 5000)); err != nil {
			return err
		}
		trigger := filepath.Join("/sys/fs/ext4", filepath.Base(p.Device), "trigger_fs_error")
		return os.WriteFile(trigger, []byte("a test\n"), 0o200)
	})
	if !image.Damaged(err) {
		t.Errorf("got %v", err)
	}
	err = image.WriteSlot(p, func(*image.Writer) error { t.Error("it was built upon"); return nil })
	if !image.Damaged(err) {
		t.Errorf("again: %v", err)
	}
}
