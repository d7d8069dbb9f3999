package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sysfsSector is the unit of size and start in sysfs, whatever the disk's own
// sectors are (Linux Documentation/ABI/stable/sysfs-block).
const sysfsSector = 512

// open reads the partition table of the disk with a folder in sysfs.
func (f *finder) open(sys string) (*blockDevice, error) {
	size, err := readNumber(filepath.Join(sys, "size"))
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return nil, errNoGPT // no medium
	}
	sector, err := readNumber(filepath.Join(sys, "queue", "logical_block_size"))
	if err != nil {
		return nil, err
	}
	if sector < sysfsSector || sector > 1<<16 {
		return nil, fmt.Errorf("%s: sectors of %d bytes", sys, sector)
	}
	device, err := f.node(sys)
	if err != nil {
		return nil, err
	}
	node, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer node.Close()
	table, err := readGPT(node, size*sysfsSector, sector)
	if err != nil {
		return nil, fmt.Errorf("partition table of %s: %w", device, err)
	}
	return &blockDevice{sys: sys, device: device, table: table}, nil
}

// partitionDevice returns the device node of a partition: the kernel's one with
// the same number, which must have the same place and size.
func (f *finder) partitionDevice(d *blockDevice, e gptEntry) (string, error) {
	// The kernel names a partition after its disk: sda1, nvme0n1p1.
	files, err := filepath.Glob(filepath.Join(d.sys, filepath.Base(d.sys)+"*", "partition"))
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if n, err := readNumber(file); err != nil || n != int64(e.number) {
			continue
		}
		dir := filepath.Dir(file)
		start, startErr := readNumber(filepath.Join(dir, "start"))
		size, sizeErr := readNumber(filepath.Join(dir, "size"))
		if err := errors.Join(startErr, sizeErr); err != nil {
			return "", err
		}
		if start*sysfsSector != e.start || size*sysfsSector != e.size {
			return "", refuse(ReasonPartitionMissing, adviceReread,
				"partition %d (%s) of %s: the kernel has it elsewhere than the partition table", e.number, e.name, d.device)
		}
		return f.node(dir)
	}
	return "", refuse(ReasonPartitionMissing, adviceReread, "the kernel has no device for partition %d (%s) of %s", e.number, e.name, d.device)
}

// node returns the device node that belongs to a folder in sysfs, after
// checking that it is that device: in a container /dev can be stale.
func (f *finder) node(sys string) (string, error) {
	number, err := readLine(filepath.Join(sys, "dev"))
	if err != nil {
		return "", err
	}
	// sysfs writes "!" where a device's name has "/", as in cciss/c0d0.
	path := filepath.Join(f.DevDir, strings.ReplaceAll(filepath.Base(sys), "!", "/"))
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", fmt.Errorf("device %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || deviceNumber(st.Rdev) != number {
		return "", fmt.Errorf("%s is not the block device %s", path, number)
	}
	return path, nil
}

// readNumber returns the content of a file of sysfs that holds one number.
func readNumber(path string) (int64, error) {
	s, err := readLine(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: %q is not a number", path, s)
	}
	return n, nil
}
