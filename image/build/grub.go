package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tufboot/grub"
)

// platform is one firmware flavour of GRUB.
type platform struct {
	name    string // as GRUB calls it
	arch    string // as Go calls it
	pkg     string // Debian package
	efiName string // removable-media path's file name (UEFI specification, 3.5.1.1); "" for BIOS
	// prefix is where GRUB looks for grub.cfg. It names no disk, so that GRUB
	// fills in the one it was loaded from (grub-core/kern/main.c,
	// grub_set_prefix_and_root); a second disk with the same labels cannot
	// shadow it. EFI firmware tells the partition as well; BIOS only the disk.
	prefix string
}

var platforms = []platform{
	{name: "x86_64-efi", arch: "amd64", pkg: "grub-efi-amd64-bin", efiName: "BOOTX64.EFI", prefix: "/grub"},
	{name: "i386-pc", arch: "amd64", pkg: "grub-pc-bin", prefix: "(,gpt1)/grub"},
	{name: "arm64-efi", arch: "arm64", pkg: "grub-efi-arm64-bin", efiName: "BOOTAA64.EFI", prefix: "/grub"},
}

// coreImage is a GRUB of one platform with all its modules built in.
type coreImage struct {
	platform platform
	core     []byte
	boot     []byte // the boot sector's program; nil for EFI
}

// NoFirmwareError says that GRUB's files are there for no firmware flavour of
// the architecture.
type NoFirmwareError struct {
	Arch     string
	Dir      string   // where they were looked for
	Packages []string // the Debian packages that have them; each one is enough
}

func (e *NoFirmwareError) Error() string {
	return fmt.Sprintf("no GRUB for %s in %s", e.Arch, e.Dir)
}

// Hint tells what to install.
func (e *NoFirmwareError) Hint() string {
	if len(e.Packages) == 0 {
		return "only amd64 and arm64 are known"
	}
	return fmt.Sprintf("install at least one of: %v", e.Packages)
}

// buildGrub makes the GRUB images for the options' architecture, and returns a
// warning for each flavour whose files are not installed.
func buildGrub(ctx context.Context, t *toolbox, o Options) (images []coreImage, warnings []string, err error) {
	none := &NoFirmwareError{Arch: o.Arch, Dir: o.GrubDir}
	for _, p := range platforms {
		if p.arch != o.Arch {
			continue
		}
		dir := filepath.Join(o.GrubDir, p.name)
		if _, err := os.Stat(filepath.Join(dir, "kernel.img")); errors.Is(err, os.ErrNotExist) {
			none.Packages = append(none.Packages, p.pkg)
			warnings = append(warnings, fmt.Sprintf("the disk will not boot on %s: %s is not there (apt install %s)", p.name, dir, p.pkg))
			continue
		}
		img, err := makeCore(ctx, t, p, dir)
		if err != nil {
			return nil, nil, fmt.Errorf("make GRUB for %s: %w", p.name, err)
		}
		images = append(images, img)
	}
	if len(images) == 0 {
		return nil, nil, none
	}
	return images, warnings, nil
}

// earlyConfig is run by GRUB's core, before anything is read from a disk. It has
// the core's own parser: one command a line, no conditions. A grub.cfg that is
// there never comes back; without one GRUB would stop at its prompt for ever,
// and a machine that reboots may find its disk the next time.
const earlyConfig = `configfile $prefix/grub.cfg
echo "tufboot: grub.cfg cannot be read; rebooting in 10 seconds"
sleep 10
reboot
`

// makeCore makes GRUB's image for one platform. All modules are built in: what
// boots must not depend on files beside it that could be of another version.
func makeCore(ctx context.Context, t *toolbox, p platform, dir string) (coreImage, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return coreImage{}, err
	}
	out, early := "core-"+p.name, "early-"+p.name+".cfg"
	if err := os.WriteFile(filepath.Join(t.dir, early), []byte(earlyConfig), 0o644); err != nil {
		return coreImage{}, err
	}
	args := append([]string{"-O", p.name, "-d", dir, "-p", p.prefix, "-c", early, "-o", out}, grub.Modules(p.name)...)
	if _, err := t.run(ctx, nil, "grub-mkimage", args...); err != nil {
		return coreImage{}, err
	}
	img := coreImage{platform: p}
	if img.core, err = os.ReadFile(filepath.Join(t.dir, out)); err != nil {
		return coreImage{}, err
	}
	if p.efiName == "" {
		if img.boot, err = os.ReadFile(filepath.Join(dir, "boot.img")); err != nil {
			return coreImage{}, err
		}
	}
	return img, nil
}
