package faultdisk_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tufboot/internal/faultdisk"
)

func TestDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it mounts a file system")
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "bytes"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(file.Truncate(4<<20), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	d, err := faultdisk.Mount(path, file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	if _, err := f.WriteAt(content, 12345); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(content))
	if _, err := f.ReadAt(got, 12345); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("other bytes, %v", err)
	}
	d.OnWrite(func(at int64, b []byte) error {
		if at == 0 {
			return syscall.EIO
		}
		b[0] ^= 1
		return nil
	})
	if _, err := f.WriteAt([]byte("xy"), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want EIO", err)
	}
	if _, err := f.WriteAt([]byte("xy"), 1); err != nil {
		t.Error(err)
	}
	if _, err := f.ReadAt(got[:2], 1); err != nil || string(got[:2]) != "yy" {
		t.Errorf("got %q, %v", got[:2], err)
	}
}

// TestPowerCut: what a flush has covered stays, what came after it goes, and the disk
// itself goes on.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "bytes"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	path, cut := filepath.Join(dir, "disk"), filepath.Join(dir, "cut")
	if err := errors.Join(file.Truncate(4096), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	d, err := faultdisk.Mount(path, file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put := func(at int64, text string) {
		if _, err := f.WriteAt([]byte(text), at); err != nil {
			t.Error(err)
		}
	}
	d.Hold()
	put(0, "flushed ")
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	put(4, "lost")
	put(0, "also lost")
	if err := d.PowerCut(cut); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{cut: "flushed \x00", path: "also lost"} {
		if data, err := os.ReadFile(name); err != nil || string(data[:9]) != want {
			t.Errorf("%s has %q, %v", name, data[:min(9, len(data))], err)
		}
	}
	d.OnFlush(func() error { return syscall.EIO })
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a flush that fails: %v", err)
	}
}
