package machine

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sort"
)

// File is one entry of an initramfs.
type File struct {
	Data []byte
	Mode fs.FileMode // permission bits; fs.ModeDir or fs.ModeSymlink for the kind
}

// Tree is the content of an initramfs: absolute paths without the leading
// slash. Parent folders need not be named.
type Tree map[string]File

// AddFile puts a plain file into t.
func (t Tree) AddFile(name string, data []byte, perm fs.FileMode) {
	t[name] = File{Data: data, Mode: perm}
}

// AddHostFile puts a copy of the host's file path into t.
func (t Tree) AddHostFile(name, path string, perm fs.FileMode) error {
	data, err := os.ReadFile(path)
	if err == nil {
		t.AddFile(name, data, perm)
	}
	return err
}

// CPIO returns t as an archive in the newc format (the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst), padded to 512
// bytes so that another archive can follow it. The same tree gives the same
// bytes.
func (t Tree) CPIO() []byte {
	all := t.withFolders()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	sort.Strings(names) // a folder sorts before what is in it
	var b bytes.Buffer
	for i, name := range names {
		writeEntry(&b, i+1, name, all[name])
	}
	writeEntry(&b, 0, "TRAILER!!!", File{})
	pad(&b, 512)
	return b.Bytes()
}

func (t Tree) withFolders() Tree {
	all := Tree{}
	for name, f := range t {
		all[name] = f
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := t[dir]; !ok {
				all[dir] = File{Mode: fs.ModeDir | 0o755}
			}
		}
	}
	return all
}

func writeEntry(b *bytes.Buffer, inode int, name string, f File) {
	mode := uint32(f.Mode.Perm())
	switch f.Mode.Type() {
	case fs.ModeDir:
		mode |= 0o040000
	case fs.ModeSymlink:
		mode |= 0o120000
	default:
		mode |= 0o100000
	}
	if inode == 0 {
		mode = 0
	}
	// magic, inode, mode, uid, gid, links, mtime, size, device numbers, name size, checksum
	fmt.Fprintf(b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		inode, mode, 0, 0, 1, 0, len(f.Data), 0, 0, 0, 0, len(name)+1, 0)
	b.WriteString(name)
	b.WriteByte(0)
	pad(b, 4)
	b.Write(f.Data)
	pad(b, 4)
}

func pad(b *bytes.Buffer, to int) {
	for b.Len()%to != 0 {
		b.WriteByte(0)
	}
}
