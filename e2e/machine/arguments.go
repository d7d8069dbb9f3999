package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// The two files of Debian's package ovmf.
const (
	ovmfCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	ovmfVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// arguments returns QEMU's command line. Devices that a guest does not need
// are left out: each costs time to emulate.
func (o Options) arguments() ([]string, error) {
	memory := o.MemoryMB
	if memory == 0 {
		memory = 512
	}
	args := []string{
		"-name", "tufboot-" + o.Name,
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-m", strconv.Itoa(memory),
		"-chardev", "socket,id=serial,path=serial.sock", "-serial", "chardev:serial",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=commands,path=commands.sock", "-device", "virtserialport,chardev=commands,name=tufboot",
		"-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile=",
		"-device", "virtio-rng-pci",
	}
	if o.Kernel != "" {
		args = append(args, "-kernel", o.Kernel, "-initrd", o.Initramfs, "-append", o.Cmdline)
	}
	if o.Watchdog {
		args = append(args, "-device", "i6300esb", "-action", "watchdog=reset")
	}
	if o.Firmware == UEFI {
		vars := filepath.Join(o.Dir, "vars.fd")
		if _, err := os.Stat(vars); err != nil {
			if err := copyFile(ovmfVars, vars); err != nil {
				return nil, fmt.Errorf("UEFI variables (of the package ovmf): %w", err)
			}
		}
		args = append(args,
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+ovmfCode,
			"-drive", "if=pflash,format=raw,unit=1,file="+vars)
	}
	return append(args, o.diskArguments()...), nil
}

// diskArguments returns the part of the command line that adds the disks. The
// host's page cache is used: it survives the end of QEMU, so that a killed
// machine loses what the guest had not written, and nothing else.
func (o Options) diskArguments() []string {
	var args []string
	for i, d := range o.Disks {
		id := fmt.Sprintf("disk%d", i)
		device := "virtio-blk-pci"
		if d.USB {
			device = "usb-storage,removable=on"
			args = append(args, "-device", "qemu-xhci,id=usb"+id)
		}
		device += ",drive=" + id
		if d.Boot {
			device += ",bootindex=0"
		} else {
			device += fmt.Sprintf(",bootindex=%d", i+1)
		}
		args = append(args, d.backend(id)...)
		args = append(args, "-device", device)
	}
	return args
}

// backend returns the arguments that give the disk's bytes the name id.
func (d Disk) backend(id string) []string {
	if d.Log == "" {
		return []string{"-drive", "if=none,format=raw,cache=writeback,id=" + id + ",file=" + d.Path}
	}
	// The format of the log is that of Linux' dm-log-writes.
	return []string{
		"-blockdev", "driver=raw,node-name=" + id + "raw,file.driver=file,file.filename=" + d.Path,
		"-blockdev", "driver=file,node-name=" + id + "log,filename=" + d.Log,
		"-blockdev", "driver=blklogwrites,node-name=" + id + ",file=" + id + "raw,log=" + id + "log,log-sector-size=512",
	}
}

// dieWithParent makes the kernel end QEMU when the test program ends, however
// that happens.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
