package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// cgroupName is the control group that holds all pods of the cluster in dir. It
// is the kubelet's cgroupRoot.
func cgroupName(dir string) string { return "/" + filepath.Base(dir) }

// hierarchies returns where control groups are mounted: one folder for version 2,
// one for each controller of version 1.
func hierarchies() ([]string, error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var dirs []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if field := strings.Fields(lines.Text()); field[2] == "cgroup" || field[2] == "cgroup2" {
			dirs = append(dirs, field[1])
		}
	}
	return dirs, lines.Err()
}

// makeCgroups makes the group in each hierarchy. In a cpuset of version 1 nothing
// runs before it is told where.
func makeCgroups(name string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return fmt.Errorf("control group: %w", err)
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				continue // not this controller
			}
			if err := os.WriteFile(filepath.Join(dir, name, file), value, 0o644); err != nil {
				return fmt.Errorf("control group: %w", err)
			}
		}
	}
	return nil
}

// removeCgroups removes the group and all below it, in each hierarchy. Those who
// were in it have been killed, and may take a moment to be gone.
func removeCgroups(name string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		top := filepath.Join(dir, name)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			if err = removeGroups(top); !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("control group: %w", err)
		}
	}
	return nil
}

// removeGroups removes folders from the leaves up; the files in a control group
// cannot be removed and go with it.
func removeGroups(top string) error {
	var groups []string
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			groups = append(groups, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, g := range slices.Backward(groups) {
		if err := syscall.Rmdir(g); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &fs.PathError{Op: "rmdir", Path: g, Err: err}
		}
	}
	return nil
}
