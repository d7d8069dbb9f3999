package image

import "tufboot/grub"

// Partition is one partition of a disk.
type Partition struct {
	Number int    `json:"number"`           // as in the GPT, from 1
	Name   string `json:"name"`             // GPT partition name, which is also the file system's label
	UUID   string `json:"uuid"`             // GPT unique partition GUID, lower case
	Device string `json:"device,omitempty"` // such as /dev/vda2; empty for a partition in an image file
	Start  int64  `json:"start"`            // first byte on the disk
	Size   int64  `json:"size"`             // bytes
}

// Disk is a tufboot disk with its four partitions.
type Disk struct {
	Device  string    `json:"device"` // such as /dev/vda
	EFI     Partition `json:"efi"`
	SystemA Partition `json:"system_a"`
	SystemB Partition `json:"system_b"`
	Data    Partition `json:"data"`
}

// Slot returns the system partition that holds slot s; for what is no slot, a
// Partition without a device, which nothing can be done with.
func (d *Disk) Slot(s grub.Slot) Partition {
	switch s {
	case grub.SlotA:
		return d.SystemA
	case grub.SlotB:
		return d.SystemB
	}
	return Partition{}
}
