package mkext4_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tufboot/image/mkext4"
)

// fill makes a file of size bytes that is full of what an old file system could
// have left: nothing of it may be taken for metadata.
func fill(t *testing.T, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "part"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	junk := bytes.Repeat([]byte{0xc0, 0x3b, 0x39, 0x98, 0x53, 0xef, 0xff, 0x01}, 1<<17)
	if size > 256<<20 { // where it counts: at the start of each group
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		for at := int64(0); at < size; at += 128 << 20 {
			_, _ = f.WriteAt(junk[:min(int64(len(junk)), size-at)], at)
		}
		return f
	}
	for at := int64(0); at < size; at += int64(len(junk)) {
		if _, err := f.WriteAt(junk[:min(int64(len(junk)), size-at)], at); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func options(size int64) mkext4.Options {
	return mkext4.Options{
		Size: size, Label: "SYSTEM-B", Now: time.Unix(1_600_000_000, 0),
		UUID: [16]byte{1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 16}, Seed: [16]byte{7, 7},
	}
}

func tool(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err
}

// TestChecker has e2fsck look at file systems of all kinds of sizes: it must find
// nothing to say.
func TestChecker(t *testing.T) {
	const group = 128 << 20
	for _, size := range []int64{
		mkext4.MinSize, mkext4.MinSize + 4095, 16 << 20, 100<<20 + 512, group - 4096, group, group + 4096,
		group + 1<<20, 2*group - 1<<20, 3*group + 77*4096, 10 * group, 64*group + 5<<20, 300 * group,
	} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			f := fill(t, size)
			if err := mkext4.Make(f, options(size)); err != nil {
				t.Fatal(err)
			}
			out, err := tool(t, "e2fsck", "-f", "-n", f.Name())
			if err != nil || strings.Contains(out, "?") {
				t.Errorf("e2fsck: %v\n%s", err, out)
			}
			if st, err := f.Stat(); err != nil || st.Size() != size {
				t.Errorf("wrote behind the end, %v", err)
			}
		})
	}
}

// TestGrubReads has GRUB's own code find the label, list the root folder and read
// a file that debugfs puts in.
func TestGrubReads(t *testing.T) {
	const size = 40 << 20
	f := fill(t, size)
	if err := mkext4.Make(f, options(size)); err != nil {
		t.Fatal(err)
	}
	content := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(content, bytes.Repeat([]byte("kernel "), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := tool(t, "debugfs", "-w", "-R", "write "+content+" vmlinuz", f.Name()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := tool(t, "e2fsck", "-f", "-n", f.Name()); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
	if out, err := tool(t, "grub-fstest", f.Name(), "ls", "--", "-l", "(loop0)"); err != nil || !strings.Contains(out, "SYSTEM-B") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := tool(t, "grub-fstest", f.Name(), "cmp", "/vmlinuz", content); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRefusals are sizes and labels that there cannot be.
func TestRefusals(t *testing.T) {
	for _, o := range []mkext4.Options{
		{Size: 0, Label: "A"}, {Size: mkext4.MinSize - 1, Label: "A"}, {Size: mkext4.MaxSize + 1, Label: "A"},
		{Size: mkext4.MinSize, Label: "12345678901234567"},
	} {
		if err := mkext4.Make(nil, o); err == nil {
			t.Errorf("%+v was not refused", o)
		}
	}
}

// cut is a device that keeps the first writes and then nothing.
type cut struct {
	*os.File
	left int
}

func (c *cut) WriteAt(b []byte, at int64) (int, error) {
	if c.left--; c.left < 0 {
		return 0, fmt.Errorf("cut")
	}
	return c.File.WriteAt(b, at)
}

// TestPowerCut cuts after each write: what is there is no ext4 file system, or a
// whole one.
func TestPowerCut(t *testing.T) {
	const size = 130 << 20 // two groups
	for writes := 0; ; writes++ {
		f := fill(t, size)
		if err := mkext4.Make(f, options(size)); err != nil { // an older one
			t.Fatal(err)
		}
		err := mkext4.Make(&cut{f, writes}, options(size))
		magic := make([]byte, 2)
		if _, err := f.ReadAt(magic, 1024+0x38); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			if out, err := tool(t, "e2fsck", "-f", "-n", f.Name()); err != nil {
				t.Errorf("e2fsck: %v\n%s", err, out)
			}
			if writes < 10 {
				t.Errorf("only %d writes", writes)
			}
			return
		}
		if writes > 0 && magic[0] == 0x53 {
			t.Errorf("after %d writes there is a superblock over half a file system", writes)
		}
	}
}

// cached is a device whose cache forgets: only what Sync has covered is sure to be
// there, and of the rest one write may be there all the same.
type cached struct {
	*os.File
	pending []pending
	end     func(c *cached) // is told each write, before it counts as durable
}

type pending struct {
	at   int64
	data []byte
}

func (c *cached) WriteAt(b []byte, at int64) (int, error) {
	c.pending = append(c.pending, pending{at, bytes.Clone(b)})
	c.end(c)
	return len(b), nil
}

func (c *cached) Sync() error {
	for _, p := range c.pending {
		if _, err := c.File.WriteAt(p.data, p.at); err != nil {
			return err
		}
	}
	c.pending = nil
	return nil
}

// TestWriteCache cuts after each write, and has each write that was not synced come
// to the device alone: what is there is no ext4 file system, or a whole one. In the
// end it is there for good.
func TestWriteCache(t *testing.T) {
	const size = mkext4.MinSize
	f := fill(t, size)
	old := options(size)
	old.UUID[0]++ // so that none of its checksums fits the new one
	if err := mkext4.Make(f, old); err != nil {
		t.Fatal(err)
	}
	look := func(when string, must bool) {
		magic := make([]byte, 2)
		if _, err := f.ReadAt(magic, 1024+0x38); err != nil {
			t.Fatal(err)
		}
		if magic[0] != 0x53 && !must {
			return
		}
		if out, err := tool(t, "e2fsck", "-f", "-n", f.Name()); err != nil {
			t.Errorf("%s: e2fsck: %v\n%s", when, err, out)
		}
	}
	d := &cached{File: f, end: func(c *cached) {
		last := c.pending[len(c.pending)-1]
		was := make([]byte, len(last.data))
		if _, err := f.ReadAt(was, last.at); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(last.data, last.at); err != nil {
			t.Fatal(err)
		}
		look(fmt.Sprintf("cut behind a write at %d", last.at), false)
		if _, err := f.WriteAt(was, last.at); err != nil {
			t.Fatal(err)
		}
	}}
	if err := mkext4.Make(d, options(size)); err != nil {
		t.Fatal(err)
	}
	look("in the end", true)
}
