package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"tufboot/grub"
	"tufboot/image"
)

// Build makes the disk image that o describes. An error leaves what was at
// o.Output before. A missing program is a MissingToolError, missing GRUB files
// for every firmware flavour a NoFirmwareError.
func Build(ctx context.Context, o Options) (_ *Result, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("build %s: %w", o.Output, err)
		}
	}()
	o, err = o.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := plan(o)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(o.Output), ".tufboot-image-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t, err := newToolbox(dir, o.Time)
	if err != nil {
		return nil, err
	}
	images, warnings, err := buildGrub(ctx, t, o)
	if err != nil {
		return nil, err
	}
	b := builder{Options: o, layout: l, tools: t, images: images}
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	result := &Result{Output: o.Output, Size: l.size, Warnings: warnings}
	for _, p := range l.partitions() {
		result.Partitions = append(result.Partitions, p.Partition)
	}
	for _, img := range images {
		result.Firmware = append(result.Firmware, img.platform.name)
	}
	for _, w := range warnings {
		o.Logger.Warn(w)
	}
	return result, nil
}

// builder holds what the steps of one build share.
type builder struct {
	Options
	layout *layout
	tools  *toolbox
	images []coreImage
}

// build makes the image in the toolbox's folder and moves it to its place.
func (b *builder) build(ctx context.Context) error {
	const name = "disk.img"
	temp := filepath.Join(b.tools.dir, name)
	if err := makeHole(temp, b.layout.size); err != nil {
		return err
	}
	if err := writeTable(ctx, b.tools, name, b.layout); err != nil {
		return fmt.Errorf("write the partition table: %w", err)
	}
	disk, err := os.OpenFile(temp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer disk.Close()
	if err := b.fill(ctx, disk); err != nil {
		return err
	}
	for _, img := range b.images {
		if img.boot == nil {
			continue
		}
		if err := embed(disk, img); err != nil {
			return err
		}
	}
	if err := errors.Join(disk.Sync(), disk.Close()); err != nil {
		return err
	}
	return os.Rename(temp, b.Output)
}

// fill makes the four file systems and copies them into the disk.
func (b *builder) fill(ctx context.Context, disk *os.File) error {
	l := b.layout
	files, err := espFiles(b.Options, b.images)
	if err != nil {
		return err
	}
	if err := b.add(disk, l.efi, func(out string) error {
		return makeESP(ctx, b.tools, out, l.efi, files)
	}); err != nil {
		return err
	}
	if err := b.stageRelease("slot"); err != nil {
		return err
	}
	for _, slot := range l.slots {
		if err := b.add(disk, slot, func(out string) error {
			return makeExt4(ctx, b.tools, out, slot, "slot", slotInodeRatio, b.Time)
		}); err != nil {
			return err
		}
	}
	if err := b.stageData("data"); err != nil {
		return err
	}
	return b.add(disk, l.data, func(out string) error {
		return makeExt4(ctx, b.tools, out, l.data, "data", dataInodeRatio, b.Time)
	})
}

// add makes a file system with make and copies it to its partition.
func (b *builder) add(disk *os.File, p part, make func(out string) error) error {
	out := "fs-" + p.Name
	if err := make(out); err != nil {
		return err
	}
	b.Logger.Debug("file system made", "partition", p.Name, "bytes", p.Size)
	file := filepath.Join(b.tools.dir, out)
	if err := copySparse(disk, p.Start, file); err != nil {
		return err
	}
	return os.Remove(file)
}

// stageRelease puts the files of a slot into a folder of the toolbox.
func (b *builder) stageRelease(tree string) error {
	root := filepath.Join(b.tools.dir, tree)
	if err := makeRoot(root); err != nil {
		return err
	}
	cmdline, err := grub.CmdlineConfig(b.Cmdline)
	if err != nil {
		return err
	}
	if err := copyFile(filepath.Join(root, grub.KernelFile), b.Kernel); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(root, grub.InitramfsFile), b.Initramfs); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(b.Beside)) {
		if err := writeNew(filepath.Join(root, name), b.Beside[name], 0o644); err != nil {
			return err
		}
	}
	if err := writeNew(filepath.Join(root, grub.CmdlineFile), cmdline, 0o644); err != nil {
		return err
	}
	if err := writeNew(filepath.Join(root, image.ManifestFile), b.Manifest, 0o644); err != nil {
		return err
	}
	sums, err := sumsOf(root, grub.KernelFile, grub.InitramfsFile, grub.CmdlineFile, image.ManifestFile)
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(root, grub.SumsFile), sums, 0o644)
}

// sumsOf returns the list that GRUB checks a slot by.
func sumsOf(root string, names ...string) ([]byte, error) {
	var sums []grub.FileSum
	for _, name := range names {
		f, err := os.Open(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		sums = append(sums, grub.FileSum{Name: name, SHA256: hex.EncodeToString(h.Sum(nil))})
	}
	return grub.Sums(sums...)
}

// stageData puts the first files of DATA into a folder of the toolbox, and
// never outside it.
func (b *builder) stageData(tree string) (err error) {
	dir := filepath.Join(b.tools.dir, tree)
	if err := makeRoot(dir); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for name, content := range b.Data {
		if err := makeFolders(root, path.Dir(name)); err != nil {
			return err
		}
		if err := root.WriteFile(name, content, 0o600); err != nil {
			return err
		}
		if err := root.Chmod(name, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// makeRoot makes the folder that becomes the root of a file system.
func makeRoot(path string) error {
	return errors.Join(os.Mkdir(path, 0o755), os.Chmod(path, 0o755))
}

// makeFolders makes a folder and those above it, with mode 0755 whatever the
// umask is.
func makeFolders(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if err := makeFolders(root, path.Dir(dir)); err != nil {
		return err
	}
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return root.Chmod(dir, 0o755)
}

// writeNew writes a file with exactly the given permissions, whatever the
// umask is.
func writeNew(path string, content []byte, perm os.FileMode) error {
	if err := os.WriteFile(path, content, perm); err != nil {
		return err
	}
	return os.Chmod(path, perm)
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := writeNew(dst, nil, 0o644); err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
