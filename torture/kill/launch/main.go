//go:build linux && amd64

// Command launch starts a program as if the machine had been booted otherwise, and
// under the filter of package trace.
//
//	launch [-trace] [-over FILE=PLACE]... PROGRAM ARGUMENT...
//
// PROGRAM sees FILE in PLACE, such as another kernel command line in /proc/cmdline. No
// other process does, and PROGRAM can never reboot the machine.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"tufboot/torture/kill/trace"
)

func main() {
	runtime.LockOSThread()
	var over []string
	stops := flag.Bool("trace", false, "stop at each call that changes something; needs a tracer")
	flag.Func("over", "`FILE=PLACE`", func(s string) error { over = append(over, s); return nil })
	flag.Parse()
	err := launch(over, *stops, flag.Args())
	fmt.Fprintln(os.Stderr, "launch:", err)
	os.Exit(125)
}

func launch(over []string, stops bool, argv []string) error {
	if len(over) > 0 {
		if err := private(); err != nil {
			return err
		}
	}
	for _, o := range over {
		file, place, _ := strings.Cut(o, "=")
		if err := unix.Mount(file, place, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s over %s: %w", file, place, err)
		}
	}
	if err := trace.Filter(stops); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", argv[0], unix.Exec(argv[0], argv, os.Environ()))
}

// private gives this process a mount namespace of its own. Block devices that are
// mounted by others are not in it: their unmounting must not have to wait for us.
func private() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(info)) {
		before, after, _ := strings.Cut(line, " - ")
		fields, of := strings.Fields(before), strings.Fields(after)
		if len(fields) > 4 && len(of) > 1 && strings.HasPrefix(of[1], "/dev/loop") {
			_ = unix.Unmount(fields[4], unix.MNT_DETACH) // one that is gone already needs no unmounting
		}
	}
	return nil
}
