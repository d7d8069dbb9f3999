package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// FindOptions say which disk is meant.
type FindOptions struct {
	// Disk is a device such as /dev/vda, or a link to one. Empty: the boot disk.
	Disk string
	// ESP is the partition GUID of the EFI partition that GRUB was loaded from
	// (tufboot.esp= on the kernel command line). Empty, and no Disk: the only
	// disk that has all four labels.
	ESP    string
	Labels Labels // zero: DefaultLabels
	// SysDir and DevDir are where sysfs and devtmpfs are mounted. Empty: /sys
	// and /dev.
	SysDir, DevDir string
}

const (
	adviceDisk      = "name the disk with --disk"
	adviceLabels    = "each of the four labels must be there once in the disk's partition table; see lsblk -o NAME,PARTLABEL,PARTUUID"
	adviceReread    = "the kernel's partitions are not those of the table: reboot, or run partprobe"
	adviceClone     = "detach the other disk, or give its partitions other GUIDs (sgdisk -G)"
	adviceNotOnDisk = "the EFI partition that GRUB was loaded from is on no disk that this process can see"
)

// Find returns the disk that o means, with its partitions and their devices.
// Every error that is not one of reading devices is a *RefusedError. What is
// inside the partitions is not looked at: a damaged slot must not keep the
// other one from being used.
func Find(o FindOptions) (*Disk, error) {
	if o.Labels == (Labels{}) {
		o.Labels = DefaultLabels()
	}
	if o.SysDir == "" {
		o.SysDir = "/sys"
	}
	if o.DevDir == "" {
		o.DevDir = "/dev"
	}
	f := finder{o}
	switch {
	case o.Disk != "":
		return f.named()
	case o.ESP != "":
		return f.boot()
	}
	return f.only()
}

// finder looks for one disk.
type finder struct{ FindOptions }

// blockDevice is a whole disk, as sysfs shows it.
type blockDevice struct {
	sys    string // its folder in sysfs
	device string // its device node
	table  []gptEntry
}

// named returns the disk that the caller named.
func (f *finder) named() (*Disk, error) {
	path, err := filepath.EvalSymlinks(f.Disk)
	if err != nil {
		return nil, refuse(ReasonDiskNotFound, adviceDisk, "disk %s: %w", f.Disk, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, refuse(ReasonDiskNotFound, adviceDisk, "disk %s: %w", f.Disk, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return nil, refuse(ReasonDiskNotFound, adviceDisk, "disk %s is not a block device", f.Disk)
	}
	sys, err := f.sysfsOf(deviceNumber(st.Rdev))
	if err != nil {
		return nil, refuse(ReasonDiskNotFound, adviceDisk+", not a partition", "%s is not a whole disk: %w", f.Disk, err)
	}
	d, err := f.open(sys)
	if errors.Is(err, errNoGPT) {
		return nil, refuse(ReasonPartitionMissing, adviceLabels, "disk %s: %w", f.Disk, err)
	}
	if err != nil {
		return nil, fmt.Errorf("disk %s: %w", f.Disk, err)
	}
	disk, err := f.partitions(d)
	if err == nil && f.ESP != "" && disk.EFI.UUID != f.ESP {
		return nil, refuse(ReasonAmbiguousDisk, "correct the configured disk, or leave it out: the boot disk is found by itself",
			"disk %s is not the one that was booted: its EFI partition is %s, and GRUB was loaded from %s", f.Disk, disk.EFI.UUID, f.ESP)
	}
	return disk, err
}

// sysfsOf returns the folder of the whole disk with a device number.
func (f *finder) sysfsOf(number string) (string, error) {
	dirs, err := filepath.Glob(filepath.Join(f.SysDir, "block", "*"))
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		if have, err := readLine(filepath.Join(dir, "dev")); err == nil && have == number {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no disk has the device number %s", number)
}

// boot returns the disk that has the EFI partition GRUB was loaded from.
func (f *finder) boot() (*Disk, error) {
	var found []*blockDevice
	disks, unreadable := f.scan()
	for _, d := range disks {
		for _, e := range d.table {
			if strings.EqualFold(e.uuid, f.ESP) {
				found = append(found, d)
				break
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, refuse(ReasonDiskNotFound, adviceNotOnDisk, "no disk has the boot partition %s%s", f.ESP, unreadable)
	case 1:
	default:
		return nil, refuse(ReasonAmbiguousDisk, adviceClone, "several disks have the boot partition %s: %s", f.ESP, deviceNames(found))
	}
	disk, err := f.partitions(found[0])
	if err == nil && !strings.EqualFold(disk.EFI.UUID, f.ESP) {
		return nil, refuse(ReasonPartitionMissing, adviceLabels, "%s: GRUB was loaded from partition %s, which is not %s", disk.Device, f.ESP, f.Labels.EFI)
	}
	return disk, err
}

// only returns the one disk that has all four labels.
func (f *finder) only() (*Disk, error) {
	var found []*blockDevice
	disks, unreadable := f.scan()
	for _, d := range disks {
		if f.hasAll(d.table) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return nil, refuse(ReasonDiskNotFound, adviceDisk, "no disk has the partitions %s%s", strings.Join(f.labels(), ", "), unreadable)
	case 1:
		return f.partitions(found[0])
	}
	return nil, refuse(ReasonAmbiguousDisk, adviceDisk, "several disks have the partitions %s: %s", strings.Join(f.labels(), ", "), deviceNames(found))
}

func (f *finder) labels() []string {
	names := f.Labels.names()
	return names[:]
}

func (f *finder) hasAll(table []gptEntry) bool {
	have := make(map[string]bool)
	for _, e := range table {
		have[e.name] = true
	}
	for _, label := range f.labels() {
		if !have[label] {
			return false
		}
	}
	return true
}

// scan returns all disks with a partition table. One that cannot be read, such
// as an empty card reader, is not one of ours; the second result tells of
// them, for the message that nothing was found.
func (f *finder) scan() (disks []*blockDevice, unreadable string) {
	dirs, _ := filepath.Glob(filepath.Join(f.SysDir, "block", "*")) // the pattern is well-formed
	for _, dir := range dirs {
		d, err := f.open(dir)
		switch {
		case err == nil:
			disks = append(disks, d)
		case !errors.Is(err, errNoGPT):
			unreadable += "; " + err.Error()
		}
	}
	return disks, unreadable
}

// partitions returns the disk with its four partitions, each there once.
func (f *finder) partitions(d *blockDevice) (*Disk, error) {
	disk := &Disk{Device: d.device}
	for i, p := range []*Partition{&disk.EFI, &disk.SystemA, &disk.SystemB, &disk.Data} {
		label := f.labels()[i]
		var found []gptEntry
		for _, e := range d.table {
			if e.name == label {
				found = append(found, e)
			}
		}
		switch len(found) {
		case 0:
			return nil, refuse(ReasonPartitionMissing, adviceLabels, "disk %s has no partition %s", d.device, label)
		case 1:
		default:
			return nil, refuse(ReasonDuplicateLabel, adviceLabels, "disk %s has %d partitions named %s", d.device, len(found), label)
		}
		e := found[0]
		device, err := f.partitionDevice(d, e)
		if err != nil {
			return nil, err
		}
		*p = Partition{Number: e.number, Name: e.name, UUID: e.uuid, Device: device, Start: e.start, Size: e.size}
	}
	return disk, nil
}

func deviceNames(disks []*blockDevice) string {
	var names []string
	for _, d := range disks {
		names = append(names, d.device)
	}
	return strings.Join(names, ", ")
}

// readLine returns the content of a one-line file of sysfs.
func readLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

// deviceNumber writes a device number as sysfs does.
func deviceNumber(dev uint64) string {
	return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
}
