package atomicfile

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tufboot/internal/faultdisk"
)

// newDisk returns a folder on an ext4 file system, and the disk below it.
func newDisk(t *testing.T) (string, *faultdisk.Disk) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it mounts file systems")
	}
	dir := t.TempDir()
	bytes, faulty := filepath.Join(dir, "bytes"), filepath.Join(dir, "faulty")
	run(t, "mke2fs", "-q", "-F", "-t", "ext4", bytes, "16M")
	file, err := os.OpenFile(bytes, os.O_RDWR, 0)
	if err := errors.Join(err, os.WriteFile(faulty, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	disk, err := faultdisk.Mount(faulty, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(disk.Close(), file.Close()); err != nil {
			t.Error(err)
		}
	})
	return mount(t, faulty), disk
}

func mount(t *testing.T, image string) string {
	t.Helper()
	point := t.TempDir()
	run(t, "mount", "-o", "loop", image, point)
	t.Cleanup(func() { run(t, "umount", point) })
	return point
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestPowerCut: what Write has returned from is there after a power cut that empties
// the drive's cache: a new file, and a new content of an old one.
func TestPowerCut(t *testing.T) {
	dir, disk := newDisk(t)
	contents := map[string]string{"new": strings.Repeat("new ", 5000), "again": "its second content"}
	for _, step := range []struct{ name, content string }{
		{"again", "its first content"}, {"new", contents["new"]}, {"again", contents["again"]},
	} {
		disk.Hold()
		if err := Write(filepath.Join(dir, step.name), []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		cut := filepath.Join(t.TempDir(), "cut")
		if err := disk.PowerCut(cut); err != nil {
			t.Fatal(err)
		}
		if got := read(t, filepath.Join(mount(t, cut), step.name)); got != step.content {
			t.Errorf("%s has %d bytes after the cut: %.20q", step.name, len(got), got)
		}
	}
}

// TestReadersSeeWholeFiles: who reads while a file is replaced finds the old content or
// the new.
func TestReadersSeeWholeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	contents := [][]byte{bytes.Repeat([]byte("a"), 1<<20), bytes.Repeat([]byte("b"), 1<<20)}
	if err := Write(path, contents[0], 0o600); err != nil {
		t.Fatal(err)
	}
	var reader sync.WaitGroup
	done := make(chan struct{})
	reader.Go(func() {
		for {
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
				t.Errorf("%d bytes that nobody wrote, %v", len(got), err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for i := range 40 {
		if err := Write(path, contents[i%2], 0o600); err != nil {
			t.Error(err)
		}
	}
	close(done)
	reader.Wait()
}
