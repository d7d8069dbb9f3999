// Package watchdog arms a hardware watchdog for a trial boot, so that a machine that
// hangs is reset, which GRUB counts like any other failed boot.
//
// A watchdog is a clock in hardware that resets the machine unless somebody writes to
// its device in time (Linux, Documentation/watchdog/watchdog-api.rst). A kernel that
// hangs lets nobody write. A user space that hangs may leave the writer alive; so it
// stops at a limit, unless the trial was decided before.
package watchdog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// MinTimeout is the shortest useful timeout: the device is written to every second.
const MinTimeout = 2 * time.Second

const pause = time.Second

// Options describe a watchdog and how long it is kept from biting.
type Options struct {
	Device  string        // such as /dev/watchdog0
	Timeout time.Duration // silence after which the device resets the machine, MinTimeout or more
	Limit   time.Duration // after which a trial that was not decided is left to the device
	Decided string        // a file; when it is there, the trial was committed
	Logger  *slog.Logger

	ioctl func(fd int, req uint, value int) error // of a test's device; nil: the kernel's
}

// BusyError says that another program has the device open. The process ends with exit
// code 3.
type BusyError struct{ Device string }

func (e *BusyError) Error() string { return e.Device + " belongs to another program" }

// ExitCode returns the exit code of a refusal.
func (e *BusyError) ExitCode() int { return 3 }

// ReasonCode returns the stable reason code.
func (e *BusyError) ReasonCode() string { return "watchdog-busy" }

// Hint tells the operator what to do.
func (e *BusyError) Hint() string {
	return "if that is systemd (RuntimeWatchdogSec=), all is well: take the device out of the agent's configuration"
}

// Run arms the watchdog, waiting for its device to appear, and keeps it from biting
// until the trial is decided: then it is disarmed, and Run returns. Where the
// kernel does not let it be disarmed (nowayout), Run goes on for ever. When the limit has
// passed, the device is left alone and resets the machine. When ctx ends, the
// watchdog stays armed: what follows must end before the timeout.
func Run(ctx context.Context, o Options) error {
	if o.ioctl == nil {
		o.ioctl = unix.IoctlSetPointerInt
	}
	limit := time.Now().Add(o.Limit)
	device, err := o.open(ctx, limit)
	if err != nil {
		return err
	}
	defer device.Close()
	o.Logger.Info("the watchdog is armed", "device", o.Device, "timeout", o.Timeout, "limit", o.Limit)
	for forever, silent := false, false; ; {
		if !forever && o.decided() {
			stopped, err := o.disarm(device)
			if stopped || err != nil {
				return err
			}
			forever = true
		}
		if forever || time.Now().Before(limit) {
			if _, err := device.Write([]byte{0}); err != nil {
				return fmt.Errorf("keep the watchdog from biting: %w", err)
			}
		} else if !silent {
			silent = true
			o.Logger.Error("the trial is not decided: it is left to the watchdog", "device", o.Device)
		}
		if !sleep(ctx) {
			return nil
		}
	}
}

func (o Options) decided() bool {
	_, err := os.Stat(o.Decided)
	return err == nil
}

// open opens the device, which arms it, and sets its timeout.
func (o Options) open(ctx context.Context, limit time.Time) (*os.File, error) {
	for {
		device, err := os.OpenFile(o.Device, os.O_WRONLY, 0)
		switch {
		case err == nil:
			err = o.ioctl(int(device.Fd()), unix.WDIOC_SETTIMEOUT, int(o.Timeout/time.Second))
			if err != nil {
				o.Logger.Warn("the watchdog keeps a timeout of its own", "device", o.Device, "error", err)
			}
			return device, nil
		case errors.Is(err, unix.EBUSY):
			return nil, &BusyError{o.Device}
		case !errors.Is(err, fs.ErrNotExist) || time.Now().After(limit) || !sleep(ctx):
			return nil, fmt.Errorf("arm the watchdog: %w", err)
		}
	}
}

// disarm stops the device, and returns false where the kernel does not let it.
func (o Options) disarm(device *os.File) (bool, error) {
	err := o.ioctl(int(device.Fd()), unix.WDIOC_SETOPTIONS, unix.WDIOS_DISABLECARD)
	if errors.Is(err, unix.EBUSY) {
		return false, nil
	}
	// The letter by which the kernel knows that the device is closed on purpose.
	if _, err := device.Write([]byte{'V'}); err != nil {
		return false, fmt.Errorf("disarm the watchdog: %w", err)
	}
	return true, nil
}

func sleep(ctx context.Context) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
