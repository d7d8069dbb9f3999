package build

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ext4Features are written out, because a newer mke2fs turns on features that
// GRUB 2.06 cannot read (metadata_csum_seed, orphan_file, inline_data,
// casefold; grub-core/fs/ext2.c, EXT2_DRIVER_SUPPORTED_INCOMPAT). "none" clears
// what mke2fs would choose by itself.
const ext4Features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg," +
	"sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"

// Bytes of a file system for each inode: a slot holds a handful of large files.
const (
	slotInodeRatio = 1 << 20
	dataInodeRatio = 16 << 10
)

// makeExt4 makes an ext4 file system for p in the new file out, with the
// content of folder tree. Everything in it belongs to root and has one date.
func makeExt4(ctx context.Context, t *toolbox, out string, p part, tree string, inodeRatio int, date time.Time) error {
	if err := makeHole(filepath.Join(t.dir, out), p.Size); err != nil {
		return err
	}
	if _, err := t.run(ctx, nil, "mke2fs", "-q", "-F", "-t", "ext4",
		"-b", "4096", "-I", "256", "-i", strconv.Itoa(inodeRatio), "-m", "0",
		"-O", ext4Features,
		"-E", "root_owner=0:0,hash_seed="+p.fsUUID+",lazy_itable_init=0,lazy_journal_init=0",
		"-L", p.Name, "-U", p.fsUUID, "-d", tree, out); err != nil {
		return fmt.Errorf("make the file system %s: %w", p.Name, err)
	}
	if err := normalize(ctx, t, out, tree, date); err != nil {
		return fmt.Errorf("set owners and dates in the file system %s: %w", p.Name, err)
	}
	return nil
}

// normalize gives everything that was copied from tree to root and to date.
// mke2fs -d takes over the owner and the change time of the copied files,
// which nobody can set on the host.
func normalize(ctx context.Context, t *toolbox, out, tree string, date time.Time) error {
	root := filepath.Join(t.dir, tree)
	stamp := strconv.FormatInt(date.Unix(), 10)
	var script strings.Builder
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, field := range []string{"uid", "gid"} {
			fmt.Fprintf(&script, "set_inode_field \"/%s\" %s 0\n", name, field)
		}
		for _, field := range []string{"atime", "ctime", "mtime", "crtime"} {
			fmt.Fprintf(&script, "set_inode_field \"/%s\" %s @%s\n", name, field, stamp)
			fmt.Fprintf(&script, "set_inode_field \"/%s\" %s_extra 0\n", name, field)
		}
		return nil
	})
	if err != nil {
		return err
	}
	complaints, err := t.run(ctx, strings.NewReader(script.String()), "debugfs", "-w", "-f", "-", out)
	if err != nil {
		return err
	}
	// debugfs returns 0 whatever its commands did; its first line is its version.
	if _, rest, _ := strings.Cut(complaints, "\n"); strings.TrimSpace(rest) != "" {
		return fmt.Errorf("debugfs: %s", strings.TrimSpace(rest))
	}
	return nil
}

// makeHole makes a new file of size bytes that takes no space.
func makeHole(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(size)
}
