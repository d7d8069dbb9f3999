package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cost is what one run cost.
type cost struct {
	began         time.Time
	wall          time.Duration
	memory        int64 // bytes: the largest resident set of a process, of all that took part
	written, read int64 // bytes on the node's disk
	network       int64 // bytes that the server sent, headers too
	requests      int64
	ranges        int64 // parts of files asked for; one request can ask for many
}

// script is a shell script that does a peer's job, with variables for it.
type script struct {
	text string
	env  []string
}

// gnuTime says how large the largest process was of those that it ran. It is
// small itself, which counts: a process starts with its parent's peak.
const gnuTime = "/usr/bin/time"

// timed runs a script and says how long it took and how large its largest
// process was.
func timed(ctx context.Context, s script) (time.Duration, int64, error) {
	report, err := os.CreateTemp("", "tufboot-bench-time-")
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(report.Name())
	defer report.Close()
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, gnuTime, "-q", "-f", "%M", "-o", report.Name(), "/bin/sh", "-euc", s.text)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = 5 * time.Second // for what a script that failed has left running
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w: %s", s.text, err, output.String())
	}
	wall := time.Since(start)
	memory, err := peakMemory(report.Name())
	return wall, memory, err
}

// peakMemory reads what GNU time reported with the format %M.
func peakMemory(report string) (int64, error) {
	data, err := os.ReadFile(report)
	if err != nil {
		return 0, err
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return kib * 1024, err
}

// command runs a command that is not measured.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// traffic returns how many bytes were read from and written to a block device
// so far (Documentation/block/stat.rst: fields 3 and 7, in sectors).
func traffic(device string) (read, written int64, err error) {
	data, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(device), "stat"))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(data))
	if len(fields) < 7 {
		return 0, 0, fmt.Errorf("%s: stat has %d fields", device, len(fields))
	}
	read, err1 := strconv.ParseInt(fields[2], 10, 64)
	written, err2 := strconv.ParseInt(fields[6], 10, 64)
	return read * 512, written * 512, errors.Join(err1, err2)
}

// middle returns, for each figure by itself, the median of all runs.
func middle(all []cost) cost {
	pick := func(get func(cost) int64) int64 {
		list := make([]int64, 0, len(all))
		for _, c := range all {
			list = append(list, get(c))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return cost{
		wall:     time.Duration(pick(func(c cost) int64 { return int64(c.wall) })),
		memory:   pick(func(c cost) int64 { return c.memory }),
		written:  pick(func(c cost) int64 { return c.written }),
		read:     pick(func(c cost) int64 { return c.read }),
		network:  pick(func(c cost) int64 { return c.network }),
		requests: pick(func(c cost) int64 { return c.requests }),
		ranges:   pick(func(c cost) int64 { return c.ranges }),
	}
}
