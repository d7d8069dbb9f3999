package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// clean removes a mutant's folder, and takes away first what its tests have left there:
// tests that fail, or hang, do not always clean up behind themselves.
func clean(dir string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var mounts []string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			mounts = append(mounts, fields[4])
		}
	}
	slices.Reverse(mounts) // the last one may lie on another
	for _, m := range mounts {
		err = errors.Join(err, unix.Unmount(m, unix.MNT_DETACH))
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file") // the pattern is well-formed
	for _, loop := range loops {
		if file, err := os.ReadFile(loop); err != nil || !strings.HasPrefix(string(file), dir+"/") {
			continue
		}
		device := "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(loop)))
		_ = exec.Command("partx", "-d", device).Run() // there may be none
		err = errors.Join(err, exec.Command("losetup", "-d", device).Run())
	}
	return errors.Join(err, os.RemoveAll(dir))
}
