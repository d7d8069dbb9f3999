package image_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/image"
)

// wantRefusal checks that err is a refusal with a reason and a hint.
func wantRefusal(t *testing.T, err error, reason string) {
	t.Helper()
	var refused *image.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("got error %v, want a refusal %s", err, reason)
	}
	if refused.ReasonCode() != reason || refused.ExitCode() != 3 || refused.Hint() == "" {
		t.Errorf("got refusal %q (hint %q): %v; want %q", refused.Reason, refused.Advice, err, reason)
	}
}

func TestFind(t *testing.T) {
	d := newDisk(t, labels()...)
	named, err := image.Find(image.FindOptions{SysDir: sysDir(t, d), Disk: d.device})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range []image.Partition{named.EFI, named.SystemA, named.SystemB, named.Data} {
		if p.Number != i+1 || p.Name != labels()[i] || p.Device != d.device+"p"+string(rune('1'+i)) ||
			p.Start != int64(1+i*partitionMiB)<<20 || p.Size != partitionMiB<<20 || len(p.UUID) != 36 {
			t.Errorf("partition %+v", p)
		}
	}
	if named.Slot("A") != named.SystemA || named.Slot("B") != named.SystemB || named.Slot("") != (image.Partition{}) {
		t.Error("the slots are mixed up")
	}
	link := filepath.Join(t.TempDir(), "by-id")
	if err := os.Symlink(d.device, link); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]image.FindOptions{
		"by the boot partition": {ESP: named.EFI.UUID},
		"in capitals":           {ESP: strings.ToUpper(named.EFI.UUID)},
		"the only one":          {},
		"by a link":             {Disk: link},
	} {
		t.Run(name, func(t *testing.T) {
			o.SysDir = sysDir(t, d)
			disk, err := image.Find(o)
			if err != nil || *disk != *named {
				t.Errorf("got %+v, %v; want %+v", disk, err, named)
			}
		})
	}
}

// A second disk with the same labels, such as a USB stick, must not be taken
// for the boot disk, whichever of the two the kernel lists first.
func TestFindWithSecondDisk(t *testing.T) {
	first, second := newDisk(t, labels()...), newDisk(t, labels()...)
	sys := sysDir(t, first, second)
	for _, d := range []*testDisk{first, second} {
		want := d.find()
		got, err := image.Find(image.FindOptions{SysDir: sys, ESP: want.EFI.UUID})
		if err != nil || *got != *want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	_, err := image.Find(image.FindOptions{SysDir: sys, Disk: first.device, ESP: second.find().EFI.UUID})
	wantRefusal(t, err, image.ReasonAmbiguousDisk)
	_, err = image.Find(image.FindOptions{SysDir: sys})
	wantRefusal(t, err, image.ReasonAmbiguousDisk)
	_, err = image.Find(image.FindOptions{SysDir: sys, ESP: "00000000-0000-0000-0000-000000000000"})
	wantRefusal(t, err, image.ReasonDiskNotFound)
}

// A disk that was copied bit by bit has the same GUIDs too.
func TestFindRefusesClone(t *testing.T) {
	first := newDisk(t, labels()...)
	content, err := os.ReadFile(first.file)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "clone")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	second := newDiskFrom(t, file)
	_, err = image.Find(image.FindOptions{SysDir: sysDir(t, first, second), ESP: first.find().EFI.UUID})
	wantRefusal(t, err, image.ReasonAmbiguousDisk)
}

func TestFindRefusals(t *testing.T) {
	complete := newDisk(t, labels()...)
	twice := newDisk(t, "EFI", "SYSTEM-A", "SYSTEM-B", "DATA", "SYSTEM-B")
	without := newDisk(t, "EFI", "SYSTEM-A", "DATA")
	other := newDisk(t, "BOOT", "EFI", "SYSTEM-A", "SYSTEM-B", "DATA")
	all, err := image.Find(image.FindOptions{SysDir: sysDir(t, other), Disk: other.device, Labels: image.Labels{EFI: "BOOT", SystemA: "SYSTEM-A", SystemB: "SYSTEM-B", Data: "DATA"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		disks  []*testDisk
		o      image.FindOptions
		reason string
	}{
		{"label twice, disk named", []*testDisk{twice}, image.FindOptions{Disk: twice.device}, image.ReasonDuplicateLabel},
		{"label twice, only disk", []*testDisk{twice, without}, image.FindOptions{}, image.ReasonDuplicateLabel},
		{"label missing, disk named", []*testDisk{without, complete}, image.FindOptions{Disk: without.device}, image.ReasonPartitionMissing},
		{"label missing, only disk", []*testDisk{without}, image.FindOptions{}, image.ReasonDiskNotFound},
		{"no disk", nil, image.FindOptions{}, image.ReasonDiskNotFound},
		{"named disk is not there", []*testDisk{complete}, image.FindOptions{Disk: "/dev/nonsense"}, image.ReasonDiskNotFound},
		{"named disk is a file", []*testDisk{complete}, image.FindOptions{Disk: complete.file}, image.ReasonDiskNotFound},
		{"named disk is a partition", []*testDisk{complete}, image.FindOptions{Disk: complete.device + "p1"}, image.ReasonDiskNotFound},
		{"GRUB came from another partition", []*testDisk{other}, image.FindOptions{ESP: all.EFI.UUID}, image.ReasonPartitionMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.SysDir = sysDir(t, tt.disks...)
			got, err := image.Find(tt.o)
			if err == nil {
				t.Fatalf("got %+v", got)
			}
			wantRefusal(t, err, tt.reason)
		})
	}
}

// When the partition table was changed under the kernel, the kernel's devices
// are other places than the table says.
func TestFindRefusesStalePartitions(t *testing.T) {
	d := newDisk(t, labels()...)
	run(t, "gdisk", "", "sgdisk", "-d", "3", "-n", "3:0:+8M", "-c", "3:SYSTEM-B", d.file)
	_, err := image.Find(image.FindOptions{SysDir: sysDir(t, d), Disk: d.device})
	wantRefusal(t, err, image.ReasonPartitionMissing)
	run(t, "util-linux", "", "partx", "-d", "--nr", "3", d.device)
	_, err = image.Find(image.FindOptions{SysDir: sysDir(t, d), Disk: d.device})
	wantRefusal(t, err, image.ReasonPartitionMissing)
}

func TestFindUsesBackupTable(t *testing.T) {
	d := newDisk(t, labels()...)
	want := d.find()
	f, err := os.OpenFile(d.file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 512), 512); err != nil {
		t.Fatal(err)
	}
	if got := d.find(); *got != *want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
