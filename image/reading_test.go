package image_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tufboot/image"
)

// A reading stands for a file only if the file is made of the blocks that were
// read, all of them, and reads them as they are.
func TestReadingOfOtherBlocks(t *testing.T) {
	content := noise(11, 2<<20)
	tests := map[string]func(t *testing.T, f *os.File) error{
		"nothing":        func(*testing.T, *os.File) error { return nil },
		"shorter":        func(_ *testing.T, f *os.File) error { return f.Truncate(int64(len(content) - 1)) },
		"longer":         func(_ *testing.T, f *os.File) error { return f.Truncate(int64(len(content) + 1)) },
		"a hole":         fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 1<<20, 4096),
		"taken out":      fallocate(unix.FALLOC_FL_COLLAPSE_RANGE, 1<<20, 4096),
		"marked as zero": fallocate(unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, 1<<20, 4096),
		"other blocks": func(_ *testing.T, f *os.File) error {
			if err := os.WriteFile(f.Name()+".copy", content, 0o600); err != nil {
				return err
			}
			return os.Rename(f.Name()+".copy", f.Name())
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			p, _ := newSlot(t)
			readings, err := stream(p, "initramfs", content, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantStreamed(t, p, "initramfs", content, readings)
			whileMounted(t, p.Device, func(dir string) {
				f, err := os.OpenFile(filepath.Join(dir, "initramfs"), os.O_RDWR, 0)
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				if err := change(t, f); err != nil {
					t.Error(err)
				}
			})
			if got := proven(t, p, "initramfs", readings["initramfs"]); got != (name == "nothing") {
				t.Errorf("the reading stands for the file: %t", got)
			}
		})
	}
	t.Run("another slot", func(t *testing.T) {
		d := newDisk(t, labels()...).find()
		var readings [2]map[string]image.Reading
		for i, p := range []image.Partition{d.SystemA, d.SystemB} {
			var err error
			if readings[i], err = stream(p, "initramfs", content, nil); err != nil {
				t.Fatal(err)
			}
		}
		if proven(t, d.SystemB, "initramfs", readings[0]["initramfs"]) {
			t.Error("the reading of slot A stands for slot B")
		}
	})
}

func fallocate(mode uint32, at, length int64) func(*testing.T, *os.File) error {
	return func(_ *testing.T, f *os.File) error { return unix.Fallocate(int(f.Fd()), mode, at, length) }
}

// A file that was given up and written otherwise has no reading, though its
// blocks may be the same.
func TestReadingIsForgotten(t *testing.T) {
	p, _ := newSlot(t)
	content := noise(12, 1<<20)
	err := image.WriteSlot(p, func(w *image.Writer) error {
		s, err := w.Stream("initramfs", int64(len(content)))
		if err != nil {
			return err
		}
		if _, err := s.Write(content); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		if len(w.Readings()) != 1 {
			t.Error("the stream was not read back")
		}
		if err := w.Discard("initramfs"); err != nil {
			return err
		}
		if len(w.Readings()) != 0 {
			t.Error("the reading of a discarded file is left")
		}
		return w.WriteFile("initramfs", noise(13, 1<<20))
	})
	if err != nil {
		t.Fatal(err)
	}
}
