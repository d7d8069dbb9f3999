package image_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tufboot/image"
)

// noise returns n bytes that nothing can compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(b)
	return b
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// feed writes content in pieces of random sizes, some of them through the
// stream's own memory.
func feed(r *rand.Rand, s *image.Stream, content []byte) error {
	for len(content) > 0 {
		piece := content[:min(len(content), 1+r.IntN([]int{10, 5000, 100_000, 3 << 20}[r.IntN(4)]))]
		if r.IntN(2) == 0 {
			room := s.AvailableBuffer()
			piece = piece[:min(len(piece), cap(room))]
			copy(room[:cap(room)], piece)
			if _, err := s.Write(room[:len(piece)]); err != nil {
				return err
			}
		} else if _, err := s.Write(piece); err != nil {
			return err
		}
		content = content[len(piece):]
	}
	return nil
}

// stream writes content into a slot as an update does, and returns what was read
// back meanwhile. prepare, unless nil, gets the stream first.
func stream(p image.Partition, name string, content []byte, prepare func(*image.Stream)) (readings map[string]image.Reading, err error) {
	err = image.WriteSlot(p, func(w *image.Writer) error {
		s, err := w.Stream(name, int64(len(content)))
		if err != nil {
			return err
		}
		if prepare != nil {
			prepare(s)
		}
		if _, err := s.Write(content[s.Held().Size():]); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		readings = w.Readings()
		return w.Commit(name)
	})
	return readings, err
}

// proven reports whether a reading stands for a file of the unmounted slot.
func proven(t *testing.T, p image.Partition, name string, r image.Reading) bool {
	t.Helper()
	var ok bool
	err := image.ReadBack(p, func(open func(string) (*image.SlotFile, error)) error {
		f, err := open(name)
		if err == nil {
			ok = f.Consists(r)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// wantStreamed fails unless the slot has content, and what was read back proves
// that.
func wantStreamed(t *testing.T, p image.Partition, name string, content []byte, readings map[string]image.Reading) {
	t.Helper()
	got, err := readBack(p, name)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes: read back %d other bytes, %v", len(content), len(got), err)
	}
	r, ok := readings[name]
	if !ok || r.SHA256 != sum(content) || !proven(t, p, name, r) {
		t.Fatalf("%d bytes: read %s behind the writes (%t), written was %s; proven: %t", len(content), r.SHA256, ok, sum(content), proven(t, p, name, r))
	}
}

func TestStreamSizes(t *testing.T) {
	p, _ := newSlot(t)
	for _, size := range []int{0, 1, 511, 512, 4095, 4096, 4097, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5<<20 + 4096, 6<<20 + 7} {
		content := noise(uint64(size), size)
		readings, err := stream(p, "initramfs", content, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantStreamed(t, p, "initramfs", content, readings)
	}
}

// Whatever the pieces are, and wherever a run ends, the next one finds a true
// beginning of the file and completes it. With every way of writing.
func TestStreamIsGoneOnWith(t *testing.T) {
	p, _ := newSlot(t)
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 0))
		size := 1 + r.IntN([]int{5000, 300_000, 7 << 20}[seed%3])
		content := noise(seed, size)
		var (
			readings map[string]image.Reading
			broken   = errors.New("broken off")
			runs     = r.IntN(4)
		)
		for i := 0; i <= runs; i++ {
			err := image.WriteSlot(p, func(w *image.Writer) error {
				s, err := w.Stream("initramfs", int64(size))
				if err != nil {
					return err
				}
				if r.IntN(3) == 0 {
					image.WithoutDirect(s)
				}
				held, err := io.ReadAll(s.Held())
				if err != nil || !bytes.HasPrefix(content, held) {
					return fmt.Errorf("%d wrong bytes are there, %w", len(held), err)
				}
				rest := content[len(held):]
				if i < runs {
					if err := feed(r, s, rest[:r.IntN(len(rest)+1)]); err != nil {
						return err
					}
					return broken
				}
				if err := feed(r, s, rest); err != nil {
					return err
				}
				if err := s.Close(); err != nil {
					return err
				}
				readings = w.Readings()
				return w.Commit("initramfs")
			})
			if i < runs && !errors.Is(err, broken) || i == runs && err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		wantStreamed(t, p, "initramfs", content, readings)
	}
}

// What a process holds when it breaks off is not lost, to the byte.
func TestStreamKeepsWhatItHas(t *testing.T) {
	p, _ := newSlot(t)
	content := noise(1, 3<<20)
	written := 0
	for _, end := range []int{10, 4096, 5000, 1<<20 + 1, 2 << 20, len(content)} {
		broken := errors.New("broken off")
		err := image.WriteSlot(p, func(w *image.Writer) error {
			s, err := w.Stream("initramfs", int64(len(content)))
			if err != nil {
				return err
			}
			if s.Held().Size() != int64(written) {
				t.Errorf("%d bytes are there, want %d", s.Held().Size(), written)
			}
			if _, err := s.Write(content[written:end]); err != nil {
				return err
			}
			written = end
			return broken
		})
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	readings, err := stream(p, "initramfs", content, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantStreamed(t, p, "initramfs", content, readings)
}

// Without O_DIRECT the bytes go through the page cache, and the rest is the same.
func TestStreamWithoutDirect(t *testing.T) {
	p, _ := newSlot(t)
	for _, size := range []int{1, 4097, 1 << 20, 5<<20 + 7} {
		content := noise(uint64(size), size)
		readings, err := stream(p, "initramfs", content, image.WithoutDirect)
		if err != nil {
			t.Fatal(err)
		}
		wantStreamed(t, p, "initramfs", content, readings)
	}
}

// The kernel's refusal is what makes it so. ext4 then gives up what was
// preallocated, so that the file gets other blocks than were read back.
func TestStreamIsRefusedDirect(t *testing.T) {
	p, _ := newSlot(t)
	content := noise(15, 5<<20+7)
	var refused func() bool
	readings, err := stream(p, "initramfs", content, func(s *image.Stream) { refused = image.Misalign(s) })
	if err != nil {
		t.Fatal(err)
	}
	if !refused() {
		t.Error("the kernel took it: this test proves nothing")
	}
	if got, err := readBack(p, "initramfs"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read back %d other bytes, %v", len(got), err)
	}
	if r := readings["initramfs"]; r.SHA256 != sum(content) && proven(t, p, "initramfs", r) {
		t.Error("other bytes than the file's stand for it")
	}
}

// A file that cannot be preallocated (here because its inode has the old map of
// single blocks) gives no reading: it is read back after the unmount.
func TestStreamWithoutPreallocation(t *testing.T) {
	p, _ := newSlot(t)
	old := func(name string) {
		whileMounted(t, p.Device, func(dir string) {
			path := filepath.Join(dir, name+image.Unverified)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Error(err)
			}
			run(t, "e2fsprogs", "", "chattr", "-e", path)
		})
	}
	old("initramfs")
	content := noise(7, 3<<20+7)
	readings, err := stream(p, "initramfs", content, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := readings["initramfs"]; ok {
		t.Error("blocks that were not known in advance were read back")
	}
	if got, err := readBack(p, "initramfs"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read back %d other bytes, %v", len(got), err)
	}
	// It can run full on the way.
	old("vmlinuz")
	err = image.WriteSlot(p, func(w *image.Writer) error {
		s, err := w.Stream("vmlinuz", 4<<20)
		if err != nil {
			return err
		}
		free, err := w.Free()
		if err != nil {
			return err
		}
		if err := w.WriteFile("other", make([]byte, free-(2<<20))); err != nil {
			return err
		}
		if _, err := s.Write(noise(8, 4<<20)); err != nil {
			return err
		}
		return s.Close()
	})
	wantRefusal(t, err, image.ReasonSlotTooSmall)
}

// A file system that writes file content to its journal first (an option that
// is kept in the superblock) has nothing in the file's blocks yet: what is read
// there must not be taken for the content, nor for the end of the matter.
func TestStreamWithJournaledData(t *testing.T) {
	p, _ := newSlot(t)
	run(t, "e2fsprogs", "", "tune2fs", "-o", "journal_data", p.Device)
	content := noise(9, 3<<20+7)
	readings, err := stream(p, "initramfs", content, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := readings["initramfs"]; ok && r.SHA256 == sum(content) {
		t.Error("the file's blocks had the content: this test proves nothing")
	}
	if got, err := readBack(p, "initramfs"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read back %d other bytes, %v", len(got), err)
	}
}

// The blocks of a file may be scattered.
func TestStreamIntoScatteredSlot(t *testing.T) {
	p, _ := newSlot(t)
	whileMounted(t, p.Device, func(dir string) {
		for i := range 10_000 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, 12<<10), 0o600); errors.Is(err, syscall.ENOSPC) {
				break
			}
		}
		for i := 0; i < 10_000; i += 2 {
			os.Remove(filepath.Join(dir, fmt.Sprint(i)))
		}
	})
	content := noise(10, 2<<20+12345)
	readings, err := stream(p, "initramfs", content, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := image.Extents(readings["initramfs"]); n < 10 {
		t.Errorf("the file has %d extents: this test proves little", n)
	}
	wantStreamed(t, p, "initramfs", content, readings)
}

// A stream that does not fit is refused before anything is written; one that is
// given more than it was opened for fails.
func TestStreamTooLarge(t *testing.T) {
	p, _ := newSlot(t)
	err := image.WriteSlot(p, func(w *image.Writer) error {
		_, err := w.Stream("initramfs", p.Size)
		return err
	})
	wantRefusal(t, err, image.ReasonSlotTooSmall)
	_, err = stream(p, "initramfs", make([]byte, 10), func(s *image.Stream) {
		if _, err := s.Write(make([]byte, 11)); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("got %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	// What was preallocated belongs to the file and counts as room for it.
	size := p.Size / 10 * 6
	for range 2 {
		err := image.WriteSlot(p, func(w *image.Writer) error {
			s, err := w.Stream("initramfs", size)
			if err != nil {
				return err
			}
			_, err = s.Write([]byte("x"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A function that panics, or forgets a stream, leaves nothing open.
func TestStreamLeftOpen(t *testing.T) {
	p, _ := newSlot(t)
	for range 5 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			image.WriteSlot(p, func(w *image.Writer) error {
				s, err := w.Stream("initramfs", 8<<20)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Write(noise(14, 3<<20)[s.Held().Size()/2:]); err != nil {
					t.Fatal(err)
				}
				panic("bug")
			})
		}()
	}
	if got := slotFiles(t, p); !strings.Contains(got, "initramfs"+image.Unverified) {
		t.Errorf("the slot has %s", got)
	}
}
