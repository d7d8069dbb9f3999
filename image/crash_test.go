package image_test

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/image"
)

// childDevice makes the test program a process that writes a slot and is
// killed while it does.
const childDevice = "TUFBOOT_TEST_WRITE_DEVICE"

// childStream says how that process writes: with a stream, or with one that is
// refused O_DIRECT.
const childStream = "TUFBOOT_TEST_WRITE_STREAM"

func TestMain(m *testing.M) {
	if device := os.Getenv(childDevice); device != "" {
		if how := os.Getenv(childStream); how != "" {
			streamForEver(device, how)
		}
		writeForEver(device)
	}
	os.Exit(m.Run())
}

// writeForEver writes half a file, says so, and waits for its end.
func writeForEver(device string) {
	err := image.WriteSlot(image.Partition{Name: "SYSTEM-B", Device: device}, func(w *image.Writer) error {
		f, _, err := w.Partial("initramfs", 8)
		if err != nil {
			return err
		}
		if _, err := f.WriteString("half"); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		println("written")
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	})
	println("ended", err.Error())
	os.Exit(1)
}

const killedSize = 6<<20 + 321

// streamForEver writes a stream in small pieces, and says so after each. It never
// ends the file.
func streamForEver(device, how string) {
	content := noise(99, killedSize)
	err := image.WriteSlot(image.Partition{Name: "SYSTEM-B", Device: device}, func(w *image.Writer) error {
		s, err := w.Stream("initramfs", killedSize)
		if err != nil {
			return err
		}
		if how == "cached" {
			image.WithoutDirect(s)
		}
		for rest := content[s.Held().Size():]; len(rest) > 1; {
			n := min(77_777, len(rest)-1)
			if _, err := s.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
			os.Stderr.WriteString(".")
		}
		// Earlier processes may have come so far before they were killed that fewer
		// pieces were left than this one is asked for.
		for err == nil {
			_, err = os.Stderr.WriteString(".")
		}
		return err
	})
	println("ended", err.Error())
	os.Exit(1)
}

// A process that is killed while it streams leaves a true beginning of the file,
// and never loses ground; the next one completes it.
func TestKilledStream(t *testing.T) {
	for _, how := range []string{"direct", "cached"} {
		t.Run(how, func(t *testing.T) {
			p, _ := newSlot(t)
			content := noise(99, killedSize)
			var before int64
			for _, pieces := range []int{1, 14, 20, 33, 7} {
				killStream(t, p, how, pieces)
				err := image.WriteSlot(p, func(w *image.Writer) error {
					f, have, err := w.Partial("initramfs", killedSize)
					if err != nil {
						return err
					}
					held := make([]byte, have)
					if _, err := f.ReadAt(held, 0); err != nil {
						return err
					}
					if !bytes.HasPrefix(content, held) {
						t.Errorf("after %d pieces the file claims %d bytes, and they are others", pieces, have)
					}
					if have < before {
						t.Errorf("after %d pieces the file has %d bytes, before it had %d", pieces, have, before)
					}
					before = have
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if before < 1<<20 {
				t.Errorf("only %d bytes are there at last: this test proves little", before)
			}
			readings, err := stream(p, "initramfs", content, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantStreamed(t, p, "initramfs", content, readings)
		})
	}
}

// killStream lets a process write some pieces of a stream, and kills it.
func killStream(t *testing.T, p image.Partition, how string, pieces int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDevice+"="+p.Device, childStream+"="+how)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dots := make([]byte, pieces)
	if _, err := io.ReadFull(said, dots); err != nil || strings.Trim(string(dots), ".") != "" {
		t.Fatalf("the child says %q, %v", dots, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
}

// A killed update leaves no mount behind, so that the next one can run.
func TestKilledWriterLeavesNoMount(t *testing.T) {
	p, _ := newSlot(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDevice+"="+p.Device)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "written\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	err = image.WriteSlot(p, func(*image.Writer) error { return nil })
	wantRefusal(t, err, image.ReasonSlotMounted) // while it is alive
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	resume(t, p)
}

// resume finds half of the file and writes the other half.
func resume(t *testing.T, p image.Partition) {
	t.Helper()
	err := image.WriteSlot(p, func(w *image.Writer) error {
		f, have, err := w.Partial("initramfs", 8)
		if err != nil {
			return err
		}
		if have != 4 {
			t.Errorf("%d bytes are there, want 4", have)
		}
		if _, err := f.WriteString("+end"); err != nil {
			return err
		}
		return w.Commit("initramfs")
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readBack(p, "initramfs"); string(got) != "half+end" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// A file that has its final name has its whole content, at whatever moment the
// power goes: both were made durable, in this order.
func TestPowerCutAfterCommit(t *testing.T) {
	p, d := newSlot(t)
	content := pattern("all of it ", 3<<20)
	copied := filepath.Join(t.TempDir(), "after-the-cut")
	err := image.WriteSlot(p, func(w *image.Writer) error {
		f, _, err := w.Partial("vmlinuz", int64(len(content)))
		if err != nil {
			return err
		}
		if _, err := f.Write(content); err != nil {
			return err
		}
		if err := w.Commit("vmlinuz"); err != nil {
			return err
		}
		return d.copyFile(copied)
	})
	if err != nil {
		t.Fatal(err)
	}
	cut := newDiskFrom(t, copied).find().SystemB
	if err := image.WriteSlot(cut, func(*image.Writer) error { return nil }); err != nil { // recovers the journal
		t.Fatal(err)
	}
	if got, err := readBack(cut, "vmlinuz"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A machine that loses power while the slot is written leaves a file system
// whose journal needs recovery: the next run recovers it and goes on.
func TestPowerCutWhileWriting(t *testing.T) {
	p, d := newSlot(t)
	copied := filepath.Join(t.TempDir(), "after-the-cut")
	err := image.WriteSlot(p, func(w *image.Writer) error {
		f, _, err := w.Partial("initramfs", 8)
		if err != nil {
			return err
		}
		if _, err := f.WriteString("half"); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		return d.copyFile(copied)
	})
	if err != nil {
		t.Fatal(err)
	}
	cut := newDiskFrom(t, copied).find().SystemB
	// Reading must not recover it: GRUB would not either.
	for range 2 {
		if _, err := image.ReadSlotFile(cut, "initramfs", 100); err == nil {
			t.Error("a file is there that was never committed")
		}
		if _, err := readBack(cut, "initramfs"); err == nil {
			t.Error("a file is read back that was never committed")
		}
	}
	if out := run(t, "e2fsprogs", "", "dumpe2fs", "-h", cut.Device); !strings.Contains(out, "needs_recovery") {
		t.Fatal("the copy needs no recovery: this test proves nothing, or reading has recovered it")
	}
	resume(t, cut)
}

// A power cut while a stream is written leaves a true beginning of the file,
// however much of it: what the journal says was written, was written.
func TestPowerCutWhileStreaming(t *testing.T) {
	for how, prepare := range map[string]func(*image.Stream){"direct": func(*image.Stream) {}, "cached": image.WithoutDirect} {
		t.Run(how, func(t *testing.T) {
			p, d := newSlot(t)
			content := noise(17, 6<<20+5)
			copied := filepath.Join(t.TempDir(), "after-the-cut")
			_, err := stream(p, "initramfs", content, func(s *image.Stream) {
				prepare(s)
				if _, err := s.Write(content[:5<<20]); err != nil {
					t.Error(err)
				}
				if err := d.copyFile(copied); err != nil {
					t.Error(err)
				}
			})
			if err == nil {
				t.Fatal("the stream took more than its size")
			}
			cut := newDiskFrom(t, copied).find().SystemB
			err = image.WriteSlot(cut, func(w *image.Writer) error {
				s, err := w.Stream("initramfs", int64(len(content)))
				if err != nil {
					return err
				}
				held, err := io.ReadAll(s.Held())
				if !bytes.HasPrefix(content, held) {
					t.Errorf("the file claims %d bytes, and they are others", len(held))
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			readings, err := stream(cut, "initramfs", content, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantStreamed(t, cut, "initramfs", content, readings)
		})
	}
}
