package image_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"tufboot/image"
	"tufboot/internal/faultdisk"
)

// newFaultySlot returns slot B of a new disk whose writes the test can change.
func newFaultySlot(t *testing.T) (image.Partition, *faultdisk.Disk) {
	t.Helper()
	file, err := os.OpenFile(newDiskFile(t, labels()...), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "faulty")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	disk, err := faultdisk.Mount(path, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(disk.Close(), file.Close()); err != nil {
			t.Error(err)
		}
	})
	return newDiskFrom(t, path).find().SystemB, disk
}

// A drive that stores something else than it was given shows in what is read
// back behind the writes: it comes from the device.
func TestStreamToLyingDevice(t *testing.T) {
	p, disk := newFaultySlot(t)
	content := pattern("written once ", 4<<20)
	var lies atomic.Int64
	for name, prepare := range map[string]func(*image.Stream){"direct": nil, "cached": image.WithoutDirect} {
		lies.Store(0)
		disk.OnWrite(func(_ int64, b []byte) error {
			if i := bytes.Index(b, []byte("written once written once")); i >= 0 && lies.Load() == 0 {
				copy(b[i:], "written WRONG")
				lies.Add(1)
			}
			return nil
		})
		readings, err := stream(p, "vmlinuz", content, prepare)
		if err != nil {
			t.Fatal(err)
		}
		if lies.Load() == 0 {
			t.Fatal("the content did not come to the device")
		}
		if r, ok := readings["vmlinuz"]; !ok || r.SHA256 == sum(content) {
			t.Errorf("%s: read back what was given to the device, not what it has (%t)", name, ok)
		}
	}
}

// Errors of the device come to the caller, who then can go on in another run.
func TestStreamToFailingDevice(t *testing.T) {
	for name, prepare := range map[string]func(*image.Stream){"direct": nil, "cached": image.WithoutDirect} {
		t.Run(name, func(t *testing.T) {
			p, disk := newFaultySlot(t)
			content := pattern("0123456789abcdef", 8<<20)
			var passed int
			disk.OnWrite(func(_ int64, b []byte) error {
				if bytes.HasPrefix(b, []byte("0123456789abcdef")) {
					if passed += len(b); passed > 3<<20 {
						return syscall.EIO
					}
				}
				return nil
			})
			_, err := stream(p, "initramfs", content, prepare)
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("got %v, want EIO", err)
			}
			disk.OnWrite(nil)
			if _, err := image.ReadSlotFile(p, "initramfs", 10<<20); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file that was not written has its final name: %v", err)
			}
			err = image.WriteSlot(p, func(w *image.Writer) error {
				s, err := w.Stream("initramfs", int64(len(content)))
				if err != nil {
					return err
				}
				held, err := io.ReadAll(s.Held())
				if name == "direct" && !bytes.HasPrefix(content, held) {
					t.Error("the file claims bytes that were never written")
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A block that cannot be read behind the writes is no failure of the writes: the
// file has no reading, and reading it later tells.
func TestStreamFromUnreadableDevice(t *testing.T) {
	p, disk := newFaultySlot(t)
	content := pattern("0123456789abcdef", 3<<20)
	var failed atomic.Bool
	disk.OnRead(func(_ int64, b []byte) error {
		if bytes.Contains(b, []byte("0123456789abcdef")) {
			failed.Store(true)
			return syscall.EIO
		}
		return nil
	})
	readings, err := stream(p, "initramfs", content, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := readings["initramfs"]; ok || !failed.Load() {
		t.Errorf("what cannot be read was read back (%t), or nobody tried (%t)", ok, !failed.Load())
	}
	if _, err := readBack(p, "initramfs"); !errors.Is(err, syscall.EIO) {
		t.Errorf("reading it later: %v, want EIO", err)
	}
	disk.OnRead(nil)
	if got, err := readBack(p, "initramfs"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read back %d other bytes, %v", len(got), err)
	}
}
