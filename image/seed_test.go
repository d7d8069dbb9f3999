package image_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/image"
)

// room is for a kernel and an initramfs of these sizes.
func room(kernel, initramfs int64) image.Room {
	return image.Room{Files: map[string]int64{"vmlinuz": kernel, "initramfs": initramfs}, Slack: 1 << 20}
}

// put makes a slot hold exactly these files.
func put(t *testing.T, p image.Partition, files map[string]string) {
	t.Helper()
	whileMounted(t, p.Device, func(dir string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			if e.Name() == "lost+found" {
				continue
			}
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				t.Error(err)
			}
		}
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Error(err)
			}
		}
	})
}

// seeds reads the seeds of a file.
func seeds(t *testing.T, w *image.Writer, name string) string {
	t.Helper()
	files, err := w.OpenSeeds(name)
	if err != nil {
		t.Error(err)
	}
	var all []string
	for _, f := range files {
		content, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Error(err)
		}
		all = append(all, string(content))
	}
	return strings.Join(all, " ")
}

// Whatever a run that was cut off has left, the next one keeps what it can and
// takes nothing of another release for its own.
func TestClaimKeeping(t *testing.T) {
	p, _ := newSlot(t)
	const claim = "release" + image.Unverified
	for name, test := range map[string]struct {
		before  map[string]string
		resumed bool
		files   string
		kernel  string // its seeds
		initrd  string
	}{
		"empty": {nil, false, "", "", ""},
		"an old release": {
			map[string]string{"vmlinuz": "k", "initramfs": "i", "release.json": "m", "cmdline.cfg": "c"},
			false, "initramfs.seed vmlinuz.seed", "k", "i",
		},
		"an unfinished other release": {
			map[string]string{claim: "other", "vmlinuz": "k", "initramfs.unverified": "p", "initramfs.seed": "i"},
			false, "initramfs.seed initramfs.unverified.seed vmlinuz.seed", "k", "i p",
		},
		"cut off between two names": {
			map[string]string{"vmlinuz.seed": "k", "initramfs": "i"},
			false, "initramfs.seed vmlinuz.seed", "k", "i",
		},
		"cut off before the claim": {
			map[string]string{"vmlinuz.seed": "k", "initramfs.seed": "i", claim + image.Unverified: "mi"},
			false, "initramfs.seed vmlinuz.seed", "k", "i",
		},
		"a seed that is older": {
			map[string]string{"vmlinuz.seed": "older", "vmlinuz": "k"}, false, "vmlinuz.seed", "k", "",
		},
		"claimed already": {
			map[string]string{claim: "mine", "vmlinuz": "new", "initramfs.unverified": "half", "initramfs.seed": "i", "vmlinuz.seed": "k"},
			true, "initramfs.seed initramfs.unverified vmlinuz vmlinuz.seed", "k", "i",
		},
		"foreign files": {
			map[string]string{"foreign": "f", "foreign.seed": "f", "vmlinuz.seed.seed": "f", "vmlinuz.unverified.unverified": "f", ".seed": "f"},
			false, "", "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			put(t, p, test.before)
			for round := range 2 { // the second finds what the first has claimed
				err := image.WriteSlot(p, func(w *image.Writer) error {
					resumed, err := w.ClaimKeeping("mine", room(1<<20, 1<<20))
					if err != nil || resumed != (test.resumed || round == 1) {
						t.Errorf("resumed %t, %v", resumed, err)
					}
					if k, i := seeds(t, w, "vmlinuz"), seeds(t, w, "initramfs"); k != test.kernel || i != test.initrd {
						t.Errorf("seeds %q and %q", k, i)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.TrimSpace(strings.NewReplacer("lost+found", "", claim, "", "  ", " ").Replace(slotFiles(t, p))); strings.Join(strings.Fields(got), " ") != test.files {
					t.Errorf("the slot has %q, want %q", got, test.files)
				}
			}
			err := image.WriteSlot(p, func(w *image.Writer) error { return w.Keep("vmlinuz", "initramfs") })
			if err != nil {
				t.Fatal(err)
			}
			if got := slotFiles(t, p); strings.Contains(got, image.Seed) || strings.Contains(got, claim) {
				t.Errorf("in the end the slot has %q", got)
			}
		})
	}
}

// Seeds are given up for the new files, and for nothing less.
func TestClaimKeepingWithoutRoom(t *testing.T) {
	p, _ := newSlot(t) // of 16 MiB
	old := strings.Repeat("old kernel ", 5<<20/11)
	for name, test := range map[string]struct {
		before map[string]string
		room   image.Room
		kept   bool
	}{
		"fits":           {map[string]string{"vmlinuz": old}, room(1<<20, 5<<20), true},
		"does not fit":   {map[string]string{"vmlinuz": old}, room(1<<20, 9<<20), false},
		"fits, resumed":  {map[string]string{"release.unverified": "mine", "vmlinuz.seed": old, "initramfs.unverified": old}, room(1<<20, 5<<20), true},
		"does not":       {map[string]string{"release.unverified": "mine", "vmlinuz.seed": old, "initramfs.unverified": old}, room(1<<20, 8<<20), false},
		"the whole slot": {map[string]string{"vmlinuz": old, "initramfs": old}, room(3<<20, 9<<20), false},
	} {
		t.Run(name, func(t *testing.T) {
			put(t, p, test.before)
			err := image.WriteSlot(p, func(w *image.Writer) error {
				if _, err := w.ClaimKeeping("mine", test.room); err != nil {
					return err
				}
				free, err := w.Free()
				if kept := seeds(t, w, "vmlinuz") != ""; err != nil || kept != test.kept {
					t.Errorf("kept %t, %d bytes are free, %v", kept, free, err)
				}
				for name, size := range test.room.Files {
					if _, _, err := w.Partial(name, size); err != nil {
						t.Error(err)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestSetAside(t *testing.T) {
	p, _ := newSlot(t)
	put(t, p, map[string]string{"initramfs.unverified": "wrong", "initramfs.seed": "old"})
	err := image.WriteSlot(p, func(w *image.Writer) error {
		for range 2 { // the second time there is none
			if err := w.SetAside("initramfs"); err != nil {
				return err
			}
			if got := seeds(t, w, "initramfs"); got != "old wrong" {
				t.Errorf("seeds %q", got)
			}
		}
		if _, have, err := w.Partial("initramfs", 10); have != 0 || err != nil {
			t.Errorf("%d bytes are there, %v", have, err)
		}
		if err := w.SetAside("../initramfs"); err == nil {
			t.Error("a name outside the slot")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What was reserved for a file is free again when it becomes a seed.
func TestSetAsideReserved(t *testing.T) {
	p, _ := newSlot(t) // of 16 MiB
	err := image.WriteSlot(p, func(w *image.Writer) error {
		s, err := w.Stream("initramfs", 8<<20)
		if err != nil {
			return err
		}
		if _, err := s.Write(pattern("half ", 1<<20)); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		if err := w.SetAside("initramfs"); err != nil {
			return err
		}
		if err := w.MakeRoom(image.Room{Files: map[string]int64{"initramfs": 8 << 20}}); err != nil {
			return err
		}
		if got := seeds(t, w, "initramfs"); len(got) != 1<<20 {
			t.Errorf("the seed has %d bytes", len(got))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A slot can be read whoever has it mounted, and reading changes nothing of it.
func TestOpenSlot(t *testing.T) {
	p, d := newSlot(t)
	put(t, p, map[string]string{"vmlinuz": "kernel"})
	look := func(t *testing.T) {
		t.Helper()
		r, err := image.OpenSlot(p)
		if err != nil {
			t.Fatal(err)
		}
		f, err := r.Open("vmlinuz")
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		if err := errors.Join(err, f.Close()); err != nil || string(content) != "kernel" {
			t.Errorf("%q, %v", content, err)
		}
		if _, err := r.Open("nothing"); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		for _, name := range []string{"lost+found", "../etc/passwd", ".", ""} {
			if _, err := r.Open(name); err == nil {
				t.Errorf("%q was opened", name)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	sum := func() [sha256.Size]byte {
		content := make([]byte, p.Size)
		f, err := os.Open(d.file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.ReadAt(content, p.Start); err != nil {
			t.Fatal(err)
		}
		return sha256.Sum256(content)
	}
	before := sum()
	t.Run("not mounted", look)
	if sum() != before {
		t.Error("reading has changed the slot")
	}
	t.Run("mounted read-only", func(t *testing.T) {
		mountAt(t, p.Device, "ro,noload")
		look(t)
	})
	if sum() != before {
		t.Error("reading has changed the slot")
	}
	t.Run("mounted for writing", func(t *testing.T) {
		mountAt(t, p.Device, "rw")
		look(t)
	})
	t.Run("not left mounted", func(t *testing.T) {
		if err := image.WriteSlot(p, func(*image.Writer) error { return nil }); err != nil {
			t.Error(err)
		}
	})
	t.Run("another file system", func(t *testing.T) {
		other := p
		other.Name = "OTHER"
		if _, err := image.OpenSlot(other); err == nil {
			t.Error("a slot with another label was opened")
		}
	})
}

// The power goes when the slot is claimed and the first new file is half there:
// the seeds and the half are there afterwards, and the claim says whose it is.
func TestPowerCutWithSeeds(t *testing.T) {
	p, d := newSlot(t)
	old := pattern("old ", 2<<20)
	put(t, p, map[string]string{"vmlinuz": string(old), "release.json": "{}"})
	copied := filepath.Join(t.TempDir(), "after-the-cut")
	err := image.WriteSlot(p, func(w *image.Writer) error {
		if _, err := w.ClaimKeeping("mine", room(1<<20, 1<<20)); err != nil {
			return err
		}
		return d.copyFile(copied)
	})
	if err != nil {
		t.Fatal(err)
	}
	cut := newDiskFrom(t, copied).find().SystemB
	err = image.WriteSlot(cut, func(w *image.Writer) error {
		resumed, err := w.ClaimKeeping("mine", room(1<<20, 1<<20))
		if !resumed || err != nil {
			t.Errorf("resumed %t, %v", resumed, err)
		}
		if got := seeds(t, w, "vmlinuz"); !bytes.Equal([]byte(got), old) {
			t.Errorf("the seed has %d bytes", len(got))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := slotFiles(t, cut); strings.Contains(got, "release.json") {
		t.Errorf("the slot has %s", got)
	}
}

// What is written later is there when the slot is closed, whatever had its name.
func TestWriteLater(t *testing.T) {
	p, _ := newSlot(t)
	put(t, p, map[string]string{"vmlinuz": "kernel", "vmlinuz.chunks": "an older map, and a longer one"})
	whileMounted(t, p.Device, func(dir string) {
		if err := os.Symlink("vmlinuz", filepath.Join(dir, "initramfs.chunks")); err != nil {
			t.Error(err)
		}
	})
	err := image.WriteSlot(p, func(w *image.Writer) error {
		for _, name := range []string{"../vmlinuz", "lost+found", ""} {
			if err := w.WriteLater(name, nil); err == nil {
				t.Errorf("%q was written", name)
			}
		}
		return errors.Join(w.WriteLater("vmlinuz.chunks", []byte("map")), w.WriteLater("initramfs.chunks", []byte("map")))
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"vmlinuz": "kernel", "vmlinuz.chunks": "map", "initramfs.chunks": "map"} {
		got, err := image.ReadSlotFile(p, name, 100)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
