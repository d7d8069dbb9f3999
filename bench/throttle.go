package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The slower node: what an eMMC and a shared uplink give.
const (
	slowDisk = 100 * mb // bytes a second, each way
	slowLink = 50 * mb  // bytes a second
)

// throttleGroup is where the processes run whose disk is held back.
const throttleGroup = "tufboot-bench"

// throttle holds the whole disk to so many bytes a second each way, for whoever
// reads or writes it and however; 0 lifts it.
//
// In cgroup v1 what the kernel writes back later counts for the root group,
// so the limit is the root group's. In v2 it counts for who wrote it, so the
// limit is a group's in which the runs are (limited).
func (n *node) throttle(rate int64) error {
	device, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(n.loop), "dev"))
	if err != nil {
		return err
	}
	id := strings.TrimSpace(string(device))
	if old := "/sys/fs/cgroup/blkio"; exists(old) {
		line := []byte(fmt.Sprintf("%s %d", id, rate))
		return errors.Join(
			os.WriteFile(filepath.Join(old, "blkio.throttle.read_bps_device"), line, 0),
			os.WriteFile(filepath.Join(old, "blkio.throttle.write_bps_device"), line, 0))
	}
	const base = "/sys/fs/cgroup"
	limit := "max"
	if rate > 0 {
		limit = strconv.FormatInt(rate, 10)
	}
	if err := os.WriteFile(filepath.Join(base, "cgroup.subtree_control"), []byte("+io +memory"), 0); err != nil {
		return fmt.Errorf("cgroup v2: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(base, throttleGroup), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(base, throttleGroup, "io.max"), []byte(fmt.Sprintf("%s rbps=%s wbps=%s", id, limit, limit)), 0)
}

// limited moves the shell that runs text into the throttled group, where there
// is one.
func limited(text string) string {
	procs := filepath.Join("/sys/fs/cgroup", throttleGroup, "cgroup.procs")
	if !exists(procs) {
		return text
	}
	return "echo $$ > " + procs + "\n" + text
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// proveThrottle writes and reads in the ways that updaters do and says how fast
// that was. A limit that does not hold for one of them would favour it.
func (n *node) proveThrottle(ctx context.Context) (string, error) {
	if err := n.reset(ctx); err != nil {
		return "", err
	}
	if err := n.throttle(slowDisk); err != nil {
		return "", err
	}
	defer func() { _ = n.throttle(0) }()
	const size = 200
	var said []string
	for _, way := range []struct{ name, text string }{
		{"O_DIRECT write", "dd if=/dev/zero of=$DATA/a bs=1M count=200 oflag=direct status=none"},
		{"write + sync", "dd if=/dev/zero of=$DATA/b bs=1M count=200 status=none; sync -f $DATA"},
		{"write + fsync", "dd if=/dev/zero of=$DATA/c bs=1M count=200 conv=fsync status=none"},
		{"write + umount", "dd if=/dev/zero of=$DATA/d bs=1M count=200 status=none; umount $DATA"},
		{"read", "mount $DISK $DATA; cat $DATA/a > /dev/null"},
	} {
		syscall.Sync()
		wall, _, err := timed(ctx, script{limited(way.text), []string{"DATA=" + n.data(), "DISK=" + n.at(dataDevice)}})
		if err != nil {
			return "", err
		}
		rate := float64(size<<20) / wall.Seconds()
		said = append(said, fmt.Sprintf("%s %.0f", way.name, rate/mb))
		if rate > 1.2*slowDisk {
			return "", fmt.Errorf("the disk's limit does not hold: %s: %.0f MB/s (%v)", way.name, rate/mb, wall.Round(time.Millisecond))
		}
	}
	return strings.Join(said, ", ") + " MB/s", nil
}
