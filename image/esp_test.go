package image_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"tufboot/image"
)

// The EFI partition of the test disk is ext4: what is tested is where it is
// opened and what is refused. FAT itself is for the whole-system tests.
func TestOpenESP(t *testing.T) {
	put := func(t *testing.T, d *image.Disk, content string) {
		t.Helper()
		m, err := image.OpenESP(d, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(m.Path("file"), []byte(content), 0o600); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
	}
	want := func(t *testing.T, d *image.Disk, content string) {
		t.Helper()
		m, err := image.OpenESP(d, true)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if got, err := os.ReadFile(m.Path("file")); string(got) != content || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, content)
		}
	}
	t.Run("not mounted", func(t *testing.T) {
		d := newDisk(t, labels()...).find()
		put(t, d, "private")
		want(t, d, "private")
		m, err := image.OpenESP(d, true)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := os.WriteFile(m.Path("file"), nil, 0o600); err == nil {
			t.Error("a read-only EFI partition was written")
		}
	})
	t.Run("mounted", func(t *testing.T) {
		d := newDisk(t, labels()...).find()
		dir := mountAt(t, d.EFI.Device, "rw")
		put(t, d, "shared")
		want(t, d, "shared")
		if got, err := os.ReadFile(dir + "/file"); string(got) != "shared" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("mounted and hidden", func(t *testing.T) {
		d := newDisk(t, labels()...).find()
		dir := mountAt(t, d.EFI.Device, "rw")
		run(t, "mount", "", "mount", "-t", "tmpfs", "tmpfs", dir)
		put(t, d, "below")
		want(t, d, "below")
		run(t, "mount", "", "umount", dir)
		if got, err := os.ReadFile(dir + "/file"); string(got) != "below" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("only a folder of it mounted", func(t *testing.T) {
		d := newDisk(t, labels()...).find()
		dir, bound := t.TempDir(), t.TempDir()
		run(t, "mount", "", "mount", "-t", "ext4", d.EFI.Device, dir)
		if err := os.Mkdir(dir+"/folder", 0o700); err != nil {
			t.Fatal(err)
		}
		run(t, "mount", "", "mount", "--bind", dir+"/folder", bound)
		defer run(t, "mount", "", "umount", bound)
		run(t, "mount", "", "umount", dir)
		put(t, d, "root")
		want(t, d, "root")
		if _, err := os.Stat(bound + "/file"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is in the folder: %v", err)
		}
	})
	t.Run("mounted read-only", func(t *testing.T) {
		d := newDisk(t, labels()...).find()
		put(t, d, "before")
		mountAt(t, d.EFI.Device, "ro")
		want(t, d, "before")
		_, err := image.OpenESP(d, false)
		wantRefusal(t, err, image.ReasonESPReadOnly)
	})
	t.Run("no file system", func(t *testing.T) {
		d := newDisk(t, labels()...).find()
		run(t, "coreutils", "", "dd", "if=/dev/zero", "of="+d.EFI.Device, "bs=1M", "count=1", "status=none")
		_, err := image.OpenESP(d, false)
		wantRefusal(t, err, image.ReasonWrongFilesystem)
	})
}
