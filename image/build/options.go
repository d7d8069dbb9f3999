package build

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"tufboot/grub"
	"tufboot/image"
)

// Options say what to build. Output, Kernel, Initramfs and Manifest are needed;
// the zero value of everything else is a sensible default.
type Options struct {
	Output string // path of the image file; replaced when it is there

	// The first release, which goes into both slots.
	Kernel    string // path
	Initramfs string // path
	Manifest  []byte // release.json, stored as it is
	Cmdline   string // the release's kernel command line
	// Beside is further small files of a slot: plain name -> content.
	Beside map[string][]byte

	// Data is what the DATA file system holds at first: slash-separated
	// relative path -> content. The files get mode 0600 and belong to root.
	Data map[string][]byte

	Arch     string       // amd64 (default) or arm64: which firmware to boot on
	Labels   image.Labels // zero: image.DefaultLabels
	Size     int64        // of the disk, in bytes; 0: what the partitions need
	EFISize  int64        // bytes; 0: DefaultEFISize
	SlotSize int64        // of each slot, in bytes; 0: room for a release twice as large, at least MinSlotSize
	DataSize int64        // bytes, only when Size is 0; 0: DefaultDataSize

	// Seed makes the build reproducible: with the same seed, the same time,
	// tools and inputs, the image is the same, byte for byte. All GUIDs come
	// from it, so each disk of a fleet needs another. Empty: random.
	Seed string
	// Time is the date of everything in the image. Zero: now.
	Time time.Time

	// Grub sets the timeout and consoles of the menu; its labels are set from
	// Labels.
	Grub grub.ConfigOptions
	// GrubDir holds GRUB's files, a folder for each platform. Empty:
	// /usr/lib/grub.
	GrubDir string

	Logger *slog.Logger // nil: nothing is logged
}

// Sizes in bytes.
const (
	MiB = 1 << 20

	// DefaultEFISize is the size of the EFI partition. FAT32 needs at least
	// 65525 clusters (Microsoft's FAT specification, "FAT type
	// determination"): 32 MiB of 512-byte clusters and a little.
	DefaultEFISize = 64 * MiB
	// MinEFISize is the smallest EFI partition that is real FAT32.
	MinEFISize = 34 * MiB
	// MinSlotSize is the smallest slot that is made by default.
	MinSlotSize = 256 * MiB
	// DefaultDataSize is the size of DATA when no disk size is asked for.
	DefaultDataSize = 512 * MiB

	minExt4Size = 16 * MiB // smaller ones get no journal worth the name
)

// Result says what was built.
type Result struct {
	Output     string            `json:"output"`
	Size       int64             `json:"size"` // bytes
	Partitions []image.Partition `json:"partitions"`
	// Firmware lists GRUB's platforms that the disk boots on: x86_64-efi,
	// i386-pc, arm64-efi.
	Firmware []string `json:"firmware"`
	// Warnings are sentences for the user, such as that a firmware flavour's
	// GRUB files are not installed.
	Warnings []string `json:"warnings,omitempty"`
}

// withDefaults returns o, checked and with its defaults filled in.
func (o Options) withDefaults() (Options, error) {
	if o.Output == "" || o.Kernel == "" || o.Initramfs == "" {
		return o, errors.New("output, kernel and initramfs are needed")
	}
	if len(o.Manifest) == 0 {
		return o, errors.New("the release manifest is empty")
	}
	if o.Labels == (image.Labels{}) {
		o.Labels = image.DefaultLabels()
	}
	if err := o.Labels.Check(); err != nil {
		return o, err
	}
	o.Grub.Labels.SystemA, o.Grub.Labels.SystemB = o.Labels.SystemA, o.Labels.SystemB
	if o.Arch == "" {
		o.Arch = "amd64"
	}
	if o.GrubDir == "" {
		o.GrubDir = "/usr/lib/grub"
	}
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for name := range o.Data {
		if !fs.ValidPath(name) || name == "." {
			return o, fmt.Errorf("path %q for DATA is not a clean relative path", name)
		}
	}
	for name := range o.Beside {
		if name != filepath.Base(name) || !fs.ValidPath(name) || name == "." {
			return o, fmt.Errorf("%q cannot be the name of a slot's file", name)
		}
	}
	if st, err := os.Lstat(o.Output); err == nil && !st.Mode().IsRegular() {
		return o, fmt.Errorf("%s is not a regular file; build an image file and copy it onto the device", o.Output)
	}
	o.Output = filepath.Clean(o.Output)
	return o, nil
}
