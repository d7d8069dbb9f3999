package image

import (
	"fmt"
	"regexp"
)

// ManifestFile is the file of a slot that says which release the slot holds.
// The others are those that GRUB loads: grub.KernelFile, grub.InitramfsFile and
// grub.CmdlineFile; and grub.SumsFile, by which it checks them.
const ManifestFile = "release.json"

// Labels are the names of the four partitions. Each is both the GPT partition
// name and the label of the file system inside.
type Labels struct {
	EFI, SystemA, SystemB, Data string
}

// DefaultLabels returns the labels that a disk has unless it was built with
// others: EFI, SYSTEM-A, SYSTEM-B and DATA.
func DefaultLabels() Labels {
	return Labels{EFI: "EFI", SystemA: "SYSTEM-A", SystemB: "SYSTEM-B", Data: "DATA"}
}

// Longest labels that the file systems can hold: a FAT label is 11 bytes of
// upper case, an ext4 label 16 (e2fsprogs lib/ext2fs/ext2_fs.h, s_volume_name).
const (
	maxFATLabel  = 11
	maxExt4Label = 16
)

var (
	fatLabelForm  = regexp.MustCompile(`^[A-Z0-9][A-Z0-9_-]*$`)
	ext4LabelForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
)

// Check reports whether the labels can be used: they differ from each other,
// fit into their file systems, and hold no character that would need quoting
// in grub.cfg or in a path below /dev/disk.
func (l Labels) Check() error {
	if !fatLabelForm.MatchString(l.EFI) || len(l.EFI) > maxFATLabel {
		return fmt.Errorf("label %q of the EFI partition: use 1 to %d of A-Z 0-9 _ -", l.EFI, maxFATLabel)
	}
	seen := map[string]bool{l.EFI: true}
	for _, label := range []string{l.SystemA, l.SystemB, l.Data} {
		if !ext4LabelForm.MatchString(label) || len(label) > maxExt4Label {
			return fmt.Errorf("label %q: use 1 to %d of A-Z a-z 0-9 _ -", label, maxExt4Label)
		}
		if seen[label] {
			return fmt.Errorf("label %q is used twice", label)
		}
		seen[label] = true
	}
	return nil
}

// names returns the labels in partition order.
func (l Labels) names() [4]string {
	return [4]string{l.EFI, l.SystemA, l.SystemB, l.Data}
}
