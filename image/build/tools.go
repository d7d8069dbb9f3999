package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// packages names the Debian package of every tool that is called.
var packages = map[string]string{
	"sfdisk":       "fdisk",
	"mke2fs":       "e2fsprogs",
	"debugfs":      "e2fsprogs",
	"mkfs.vfat":    "dosfstools",
	"mmd":          "mtools",
	"mcopy":        "mtools",
	"grub-mkimage": "grub-common",
}

// MissingToolError says that a program that the build needs is not installed.
type MissingToolError struct {
	Tool    string
	Package string // the Debian package that has it
}

func (e *MissingToolError) Error() string {
	return fmt.Sprintf("%s is not installed", e.Tool)
}

// Hint tells what to install.
func (e *MissingToolError) Hint() string {
	return "install it: apt install " + e.Package
}

// toolbox runs programs in one folder, with one date and nothing of the
// caller's configuration.
type toolbox struct {
	dir  string // working directory: the names in arguments are relative to it
	env  []string
	path map[string]string
}

// newToolbox finds all tools, so that a missing one is reported before any work.
func newToolbox(dir string, date time.Time) (*toolbox, error) {
	t := &toolbox{dir: dir, path: make(map[string]string)}
	var missing []error
	for name, pkg := range packages {
		path, err := findTool(name)
		if err != nil {
			missing = append(missing, &MissingToolError{Tool: name, Package: pkg})
			continue
		}
		t.path[name] = path
	}
	if missing != nil {
		return nil, errors.Join(missing...)
	}
	epoch := fmt.Sprint(date.Unix())
	t.env = append(os.Environ(),
		"LC_ALL=C", "TZ=UTC",
		"SOURCE_DATE_EPOCH="+epoch,   // mtools, newer e2fsprogs
		"E2FSPROGS_FAKE_TIME="+epoch, // mke2fs, debugfs
		"MKE2FS_CONFIG=/dev/null",    // features and sizes come from us alone
		"MTOOLSRC=/dev/null",
		"DEBUGFS_PAGER=cat",
	)
	return t, nil
}

// findTool looks in PATH and then where Debian keeps the administrator's
// programs, which an ordinary user's PATH does not have.
func findTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// run runs a tool and returns what it wrote to its standard error.
func (t *toolbox) run(ctx context.Context, stdin io.Reader, name string, args ...string) (stderr string, err error) {
	cmd := exec.CommandContext(ctx, t.path[name], args...)
	cmd.Dir, cmd.Env, cmd.Stdin = t.dir, t.env, stdin
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(errs.String()+out.String()))
	}
	return errs.String(), nil
}
