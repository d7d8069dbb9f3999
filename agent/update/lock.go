package update

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tufboot/internal/atomicfile"
	"tufboot/internal/pause"
)

// Lock is the right to change the node: at most one agent holds it.
type Lock struct{ file *os.File }

// Acquire takes the lock in the state folder dir, which it makes if needed. It
// waits until ctx ends, or not at all if wait is false, and then refuses with
// ReasonLocked. The kernel frees the lock when its holder dies.
func Acquire(ctx context.Context, dir string, wait bool) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			l := &Lock{file: f}
			// Whoever was killed while it wrote left the file that it wrote.
			if err := atomicfile.RemoveTemp(dir); err != nil {
				l.Release()
				return nil, fmt.Errorf("clear the state folder: %w", err)
			}
			return l, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !wait || pause.For(ctx, 200*time.Millisecond) != nil {
			f.Close()
			return nil, refuse(ReasonLocked, "wait until it ends, or use --lock-wait", "another agent holds %s", path)
		}
	}
}

// Release gives the lock up.
func (l *Lock) Release() { l.file.Close() }
