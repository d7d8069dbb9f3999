package watchdog

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// rig is a device that is a plain file: it keeps what was written to it.
type rig struct {
	t        *testing.T
	dir      string
	opts     Options
	nowayout bool
	timeout  int // that was set
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir()}
	r.opts = Options{
		Device: filepath.Join(r.dir, "watchdog0"), Timeout: time.Minute, Limit: 30 * time.Minute,
		Decided: filepath.Join(r.dir, "decided"), Logger: slog.New(slog.DiscardHandler), ioctl: r.ioctl,
	}
	r.touch(r.opts.Device)
	return r
}

func (r *rig) ioctl(_ int, req uint, value int) error {
	switch {
	case req == unix.WDIOC_SETTIMEOUT:
		r.timeout = value
	case req == unix.WDIOC_SETOPTIONS && r.nowayout:
		return unix.EBUSY
	}
	return nil
}

func (r *rig) touch(path string) {
	r.t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// run runs the watchdog for so long, or until it ends by itself.
func (r *rig) run(d time.Duration) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	return Run(ctx, r.opts)
}

// written returns how often the watchdog was kept from biting, and whether it was closed
// on purpose.
func (r *rig) written() (kept int, closed bool) {
	r.t.Helper()
	data, err := os.ReadFile(r.opts.Device)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Count(string(data), "\x00"), strings.Contains(string(data), "V")
}

// inTime runs a test in a time of its own.
func inTime(t *testing.T, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newRig(t)) })
}

func TestDecidedTrialIsDisarmed(t *testing.T) {
	inTime(t, func(r *rig) {
		time.AfterFunc(10*time.Second+pause/2, func() { r.touch(r.opts.Decided) })
		if err := r.run(time.Hour); err != nil {
			t.Fatal(err)
		}
		if kept, closed := r.written(); kept != 11 || !closed || r.timeout != 60 {
			t.Errorf("written to %d times, closed %v, timeout %d", kept, closed, r.timeout)
		}
	})
}

// A kernel that does not let it be disarmed is served for ever.
func TestNoWayOut(t *testing.T) {
	inTime(t, func(r *rig) {
		r.nowayout = true
		r.touch(r.opts.Decided)
		if err := r.run(time.Hour - pause/2); err != nil {
			t.Fatal(err)
		}
		if kept, closed := r.written(); kept != 3600 || closed {
			t.Errorf("written to %d times, closed %v", kept, closed)
		}
	})
}

// A trial that nobody decides is left to the device, which stays open and armed.
func TestUndecidedTrialIsLeftToTheDevice(t *testing.T) {
	inTime(t, func(r *rig) {
		begin := time.Now()
		if err := r.run(time.Hour); err != nil {
			t.Fatal(err)
		}
		if kept, closed := r.written(); kept != 1800 || closed || time.Since(begin) != time.Hour {
			t.Errorf("written to %d times, closed %v, after %v", kept, closed, time.Since(begin))
		}
	})
}

// A device that appears late is waited for, and not for ever.
func TestLateDevice(t *testing.T) {
	inTime(t, func(r *rig) {
		os.Remove(r.opts.Device)
		begin := time.Now()
		if err := r.run(time.Hour); !errors.Is(err, fs.ErrNotExist) || time.Since(begin) > r.opts.Limit+pause {
			t.Errorf("a device that never appears: %v after %v", err, time.Since(begin))
		}
		time.AfterFunc(10*time.Second+pause/2, func() { r.touch(r.opts.Device) })
		if err := r.run(time.Minute - pause/2); err != nil {
			t.Fatal(err)
		}
		if kept, closed := r.written(); kept != 49 || closed {
			t.Errorf("written to %d times, closed %v", kept, closed)
		}
	})
}

// What cannot be opened or written to is said, and a device without a timeout that can
// be set is used as it is.
func TestDeviceErrors(t *testing.T) {
	r := newRig(t)
	r.opts.Device = r.dir
	if err := r.run(time.Hour); !errors.Is(err, unix.EISDIR) {
		t.Errorf("a folder: %v", err)
	}
	r.opts.Device = "/dev/full"
	r.opts.ioctl = nil
	if err := r.run(time.Hour); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a device that takes nothing: %v", err)
	}
}
