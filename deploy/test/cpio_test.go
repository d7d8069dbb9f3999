package deploy_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// entry is one entry of a cpio archive.
type entry struct {
	name  string
	mode  uint32 // with the file type, as in stat
	data  string
	uid   uint32
	gid   uint32
	mtime uint32
	ino   uint32
}

const (
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
)

// pack makes an archive in the "newc" format
// (https://docs.kernel.org/driver-api/early-userspace/buffer-format.html).
func pack(entries []entry) []byte {
	var b bytes.Buffer
	put := func(e entry) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			e.ino, e.mode, e.uid, e.gid, 1, e.mtime, len(e.data), 0, 0, 0, 0, len(e.name)+1, 0, e.name)
		pad4(&b)
		b.WriteString(e.data)
		pad4(&b)
	}
	for i, e := range entries {
		e.ino = uint32(i + 1)
		put(e)
	}
	put(entry{name: "TRAILER!!!"})
	return b.Bytes()
}

func pad4(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

// unpack reads an archive up to its trailer and checks that nothing but zeros
// follows.
func unpack(t *testing.T, b []byte) []entry {
	t.Helper()
	var entries []entry
	for at := 0; ; {
		if at+110 > len(b) || string(b[at:at+6]) != "070701" {
			t.Fatalf("no cpio header at %d of %d", at, len(b))
		}
		field := func(i int) uint32 {
			v, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return uint32(v)
		}
		nameSize, size := int(field(11)), int(field(6))
		name := string(b[at+110 : at+110+nameSize-1])
		data := (at + 110 + nameSize + 3) / 4 * 4
		e := entry{name: name, ino: field(0), mode: field(1), uid: field(2), gid: field(3), mtime: field(5), data: string(b[data : data+size])}
		at = (data + size + 3) / 4 * 4
		if name == "TRAILER!!!" {
			if rest := bytes.Trim(b[at:], "\x00"); len(rest) > 0 {
				t.Fatalf("%d bytes after the trailer", len(rest))
			}
			return entries
		}
		entries = append(entries, e)
	}
}

// squeeze compresses by the tool that a user would use.
func squeeze(t *testing.T, kind string, b []byte) []byte {
	t.Helper()
	args := map[string][]string{"cpio": {"cat"}, "gzip": {"gzip", "-nc"}, "zstd": {"zstd", "-qc"}, "xz": {"xz", "-c", "--check=crc32"}}[kind]
	return pipe(t, b, args...)
}

// expand undoes squeeze.
func expand(t *testing.T, kind string, b []byte) []byte {
	t.Helper()
	if kind == "gzip" {
		// Not by the tool, which says nothing of what follows the stream.
		in := bytes.NewReader(b)
		z, err := gzip.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		if z.ModTime.Unix() > 0 || z.Name != "" {
			t.Errorf("gzip header with time %v and name %q", z.ModTime, z.Name)
		}
		out, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if rest, _ := io.ReadAll(in); len(bytes.Trim(rest, "\x00")) > 0 {
			t.Fatal("data after the gzip stream")
		}
		return out
	}
	if kind == "zstd" {
		return pipe(t, bytes.TrimRight(b, "\x00"), "zstd", "-dqc")
	}
	return b
}

func pipe(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	needTool(t, args[0], strings.Replace(args[0], "xz", "xz-utils", 1))
	cmd := exec.Command(args[0], args[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, errs.String())
	}
	return out.Bytes()
}
