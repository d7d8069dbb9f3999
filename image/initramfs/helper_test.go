package initramfs

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// file is an entry as a test writes it down.
type file struct {
	name    string
	mode    uint32 // default: a file that all can read
	data    string
	inode   uint32
	links   uint32 // default: 1
	device  [2]uint32
	on      [2]uint32
	mtime   uint32
	noMagic bool
}

// archive writes newc by itself, so that reader and writer of the package are
// not tested with each other only.
func archive(files ...file) []byte {
	var b bytes.Buffer
	for _, f := range append(slices.Clone(files), file{name: trailer, mode: 1}) {
		if f.mode == 0 {
			f.mode = 0o100644
		}
		if f.name == trailer {
			f.mode = 0
		}
		magic := "070701"
		if f.noMagic {
			magic = "070707"
		}
		fmt.Fprintf(&b, "%s%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", magic, f.inode, f.mode, 7, 8,
			max(f.links, 1), f.mtime, len(f.data), f.on[0], f.on[1], f.device[0], f.device[1], len(f.name)+1, 0, f.name)
		pad(&b)
		b.WriteString(f.data)
		pad(&b)
	}
	return b.Bytes()
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

// text is n bytes that can be compressed a little, other ones for each seed.
func text(seed string, n int) string {
	var b strings.Builder
	for i := uint64(0); b.Len() < n; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(seed), i/3))
		fmt.Fprintf(&b, "%x %d\n", sum[:8], i)
	}
	return b.String()[:n]
}

// tree is a small system with everything that an archive can hold.
func tree() []file {
	files := []file{
		{name: ".", mode: 0o040755, links: 3, inode: 1},
		{name: "dev", mode: 0o040755, inode: 2, mtime: 1700000000},
		{name: "dev/console", mode: 0o020600, device: [2]uint32{5, 1}, inode: 3},
		{name: "dev/loop0", mode: 0o060640, device: [2]uint32{7, 0}, inode: 4},
		{name: "dev/pipe", mode: 0o010600, inode: 5},
		{name: "init", mode: 0o100755, data: "#!/bin/sh\n", inode: 6, on: [2]uint32{8, 1}},
		{name: "lib", mode: 0o120777, data: "usr/lib", inode: 7},
		{name: "usr", mode: 0o040755, inode: 8},
		{name: "usr/first", mode: 0o104755, inode: 9, links: 3}, // GNU cpio writes the content of the last one only
		{name: "usr/large", data: text("large", 300_000), inode: 10},
		{name: "usr/lib", mode: 0o040755, inode: 11},
		{name: "usr/lib/second", mode: 0o104755, inode: 9, links: 3},
	}
	for i := range 60 {
		name := fmt.Sprintf("usr/lib/small-%02d", i)
		files = append(files, file{name: name, data: text(name, 100*i), inode: uint32(20 + i), mtime: 1600000000 + uint32(i)})
	}
	return append(files, file{name: "usr/third", mode: 0o104755, inode: 9, links: 3, data: text("linked", 3001)})
}

// write puts the parts into a file, one after the other, and returns its path.
func write(t testing.TB, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(path, slices.Concat(parts...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// through runs a program of the system on data.
func through(t testing.TB, data []byte, dir string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin, cmd.Dir = bytes.NewReader(data), dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args, err, &stderr)
	}
	return out
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// repack packs the file at the path anew.
func repack(t testing.TB, input string, opts Options) ([]byte, *Result) {
	t.Helper()
	output := filepath.Join(t.TempDir(), "packed")
	r, err := Repack(t.Context(), input, output, opts)
	if err != nil {
		t.Fatal(err)
	}
	data := read(t, output)
	if int64(len(data)) != r.Out {
		t.Errorf("%d bytes, and the result says %d", len(data), r.Out)
	}
	return data, r
}

func newBuffered(data []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(data)) }
