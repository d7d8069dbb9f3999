package image

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountPoint is one mount of this process's namespace.
type mountPoint struct {
	root   string // the folder of the file system that is mounted
	path   string
	fsType string
}

// mountsOf returns where a block device is mounted in this process's mount
// namespace (proc_pid_mountinfo(5)). Mounts elsewhere do not show: that nothing
// is found proves nothing.
func mountsOf(device string) ([]mountPoint, error) {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return nil, fmt.Errorf("device %s: %w", device, err)
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMountInfo(string(info), deviceNumber(st.Rdev)), nil
}

// parseMountInfo returns the mounts of the device with a number "major:minor".
func parseMountInfo(info, number string) []mountPoint {
	var mounts []mountPoint
	for line := range strings.Lines(info) {
		before, after, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(rest) < 1 || fields[2] != number {
			continue
		}
		mounts = append(mounts, mountPoint{root: unescape(fields[3]), path: unescape(fields[4]), fsType: rest[0]})
	}
	return mounts
}

// unescape undoes the \ooo that the kernel writes for blanks and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
