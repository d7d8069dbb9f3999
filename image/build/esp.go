package build

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"tufboot/grub"
)

// espFile is one file of the EFI partition.
type espFile struct {
	name    string // slash-separated, from the root of the file system
	content []byte
}

// espFiles returns the files of the EFI partition in the order in which they
// are written: the two blocks that change later come first, so that each lies
// in one piece at the start of an empty file system.
func espFiles(o Options, images []coreImage) ([]espFile, error) {
	config, err := grub.Config(o.Grub)
	if err != nil {
		return nil, err
	}
	files := []espFile{
		{"grub/grubenv", grub.InitialBlock(grub.SlotA)},
		{"grub/last-good", grub.LastGoodBlock(grub.SlotA)},
		{"grub/grub.cfg", config},
	}
	for _, img := range images {
		if img.platform.efiName != "" {
			files = append(files, espFile{"EFI/BOOT/" + img.platform.efiName, img.core})
		}
	}
	return files, nil
}

// makeESP makes the FAT32 file system for p in the new file out.
func makeESP(ctx context.Context, t *toolbox, out string, p part, files []espFile) error {
	if err := makeHole(filepath.Join(t.dir, out), p.Size); err != nil {
		return err
	}
	// Clusters of one sector, so that small partitions are real FAT32 too.
	if _, err := t.run(ctx, nil, "mkfs.vfat", "--invariant", "-F", "32", "-s", "1", "-S", "512",
		"-h", fmt.Sprint(p.Start/sectorSize), "-i", p.fsUUID[:8], "-n", p.Name, out); err != nil {
		return fmt.Errorf("make the file system %s: %w", p.Name, err)
	}
	if _, err := t.run(ctx, nil, "mmd", "-i", out, "::grub", "::EFI", "::EFI/BOOT"); err != nil {
		return fmt.Errorf("fill the file system %s: %w", p.Name, err)
	}
	for _, f := range files {
		const source = "esp-file"
		if err := os.WriteFile(filepath.Join(t.dir, source), f.content, 0o644); err != nil {
			return err
		}
		if _, err := t.run(ctx, nil, "mcopy", "-i", out, source, "::"+path.Clean(f.name)); err != nil {
			return fmt.Errorf("copy %s into the file system %s: %w", f.name, p.Name, err)
		}
	}
	return nil
}
