package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DropIns returns a check for each program in dir/required.d and dir/wanted.d,
// in the order of their names. A program passes by exiting with status 0; what
// it printed is part of the error otherwise.
//
// Names that start with a dot are not programs: version control and mounted
// ConfigMaps keep such files. Everything else counts: what cannot be run, for
// want of the executable bit for example, is a check that fails. A folder that
// does not exist has no checks; one that cannot be read is an error, which
// wraps the cause.
func DropIns(dir string) (required, wanted []Check, err error) {
	if dir, err = filepath.Abs(dir); err != nil { // a check does not start in this folder
		return nil, nil, fmt.Errorf("drop-in checks: %w", err)
	}
	if required, err = dropIns(dir, "required.d"); err != nil {
		return nil, nil, err
	}
	if wanted, err = dropIns(dir, "wanted.d"); err != nil {
		return nil, nil, err
	}
	return required, wanted, nil
}

func dropIns(dir, sub string) ([]Check, error) {
	entries, err := os.ReadDir(filepath.Join(dir, sub)) // sorted by name
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("drop-in checks: %w", err)
	}
	var checks []Check
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			checks = append(checks, dropIn{
				name: sub + "/" + e.Name(),
				path: filepath.Join(dir, sub, e.Name()),
			})
		}
	}
	return checks, nil
}

type dropIn struct{ name, path string }

func (d dropIn) Name() string { return d.name }

// pipeGrace is how long output is awaited after the program has ended, in case
// a process that left its group still holds the pipe.
const pipeGrace = time.Second

// Run starts the program in a process group of its own. When the program ends,
// or ctx does, the whole group is killed: a check leaves nothing behind.
func (d dropIn) Run(ctx context.Context) error {
	if err := d.runnable(); err != nil {
		return err
	}
	out := new(tail)
	cmd := exec.Command(d.path) //nolint:noctx // exec.CommandContext kills one process; below the group is killed
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = pipeGrace
	if err := cmd.Start(); err != nil {
		if errors.Is(err, syscall.ENOEXEC) {
			return fmt.Errorf("%s: %w: has it a first line such as #!/bin/sh?", d.path, err)
		}
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- awaitExit(cmd.Process.Pid) }()
	var waitErr error
	select {
	case waitErr = <-ended:
	case <-ctx.Done():
	}
	// The leader has not been reaped yet, so its number cannot have been given to
	// another process group. That nobody else is left in it is no error.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	err := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return d.failure(context.Cause(ctx), out)
	case waitErr != nil:
		return d.failure(waitErr, out)
	case errors.Is(err, exec.ErrWaitDelay): // it exited with 0; another process kept the pipe
		return nil
	case err != nil:
		return d.failure(err, out)
	}
	return nil
}

func (d dropIn) runnable() error {
	info, err := os.Stat(d.path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", d.path)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable: run chmod +x, or remove it", d.path)
	}
	return nil
}

func (d dropIn) failure(err error, out *tail) error {
	if text := out.String(); text != "" {
		return fmt.Errorf("%s: %w: %s", d.path, err, text)
	}
	return fmt.Errorf("%s: %w", d.path, err)
}

// awaitExit returns when the process has ended, and leaves it to be reaped.
func awaitExit(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// tail keeps the end of what is written to it, in bounded memory.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if len(p) > maxQuoted+1 {
		p = p[len(p)-maxQuoted-1:]
	}
	t.buf = append(t.buf, p...)
	// One byte more than is quoted is kept, so that clean sees that something is
	// missing.
	if over := len(t.buf) - maxQuoted - 1; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return n, nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return clean(string(bytes.ToValidUTF8(t.buf, []byte("?"))))
}
