// Package grubemu runs GRUB's own code on disk images for tests: grub-emu, of the
// Debian package of that name. It has GRUB's file systems, script language and commands,
// and no loader.
package grubemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// Loader stands before a grub.cfg. Its functions take the names of the commands that
// load a kernel: they fail where the commands would, say what they are given, and end
// GRUB where a kernel would start.
const Loader = `function linux {
  if [ ! -f "$1" ]; then return 1; fi
  echo "@kernel"
  for word in "$@"; do echo "@word $word"; done
}
function initrd {
  if [ ! -f "$1" ]; then return 1; fi
  echo "@boot $1"
  reboot
}
`

// Options say what GRUB starts from.
type Options struct {
	Dir      string   // where the list of disks is written
	Root     string   // the device that GRUB is loaded from, such as hd0,gpt1
	Folder   string   // GRUB's folder there
	Disks    []string // images, in the order of their numbers: hd0, hd1, ...
	ReadOnly bool     // every write to a disk fails
}

// Boot is what GRUB did.
type Boot struct {
	Words     []string // the kernel's file, then its arguments; nil: nothing was booted
	Initramfs string   // the file
	Output    string   // what GRUB showed
}

// ErrWaits says that GRUB shows a prompt or a menu, and waits for a person.
var ErrWaits = errors.New("GRUB waits for a person")

// Run starts GRUB. The error wraps ErrWaits, or an *exec.ExitError where GRUB crashed;
// what it showed is in Boot also then.
func Run(ctx context.Context, o Options) (Boot, error) {
	devices, err := os.CreateTemp(o.Dir, "devices-")
	if err != nil {
		return Boot{}, err
	}
	defer os.Remove(devices.Name())
	for i, disk := range o.Disks {
		fmt.Fprintf(devices, "(hd%d) %s\n", i, disk)
	}
	if err := devices.Close(); err != nil {
		return Boot{}, err
	}
	limit := "unlimited"
	if o.ReadOnly {
		limit = "0" // write(2) fails with EFBIG at any offset
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", `trap "" XFSZ; ulimit -f `+limit+`; PATH="$PATH:/usr/sbin"; exec grub-emu "$@"`,
		"sh", "-r", o.Root, "-m", devices.Name(), "-d", o.Folder)
	cmd.Env = []string{"TERM=dumb", "LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return Boot{}, err
	}
	if err := cmd.Start(); err != nil {
		return Boot{}, err
	}
	output, waits := watch(pipe)
	if waits {
		_ = cmd.Process.Kill()
	}
	err = cmd.Wait()
	b := parse(output)
	switch {
	case ctx.Err() != nil:
		return b, ctx.Err()
	case waits:
		return b, fmt.Errorf("%w:\n%s", ErrWaits, b.Output)
	case err != nil:
		return b, fmt.Errorf("grub-emu (of the Debian package grub-emu): %w\n%s", err, b.Output)
	}
	return b, nil
}

// watch reads GRUB's output to its end, or until it shows a prompt or a menu.
func watch(r io.Reader) (output string, waits bool) {
	var all strings.Builder
	in := bufio.NewReader(r)
	for {
		c, err := in.ReadByte()
		if err != nil {
			return all.String(), false
		}
		all.WriteByte(c)
		if c == '>' && strings.HasSuffix(all.String(), "grub>") || c == 'n' && strings.HasSuffix(all.String(), "GNU GRUB  version") {
			return all.String(), true
		}
	}
}

func parse(output string) Boot {
	b := Boot{Output: regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]|\r`).ReplaceAllString(output, "")}
	var words []string
	for line := range strings.Lines(b.Output) {
		line = strings.TrimSpace(line)
		if line == "@kernel" {
			words = nil
		}
		if word, ok := strings.CutPrefix(line, "@word "); ok {
			words = append(words, word)
		}
		if file, ok := strings.CutPrefix(line, "@boot "); ok {
			b.Words, b.Initramfs = words, file
		}
	}
	return b
}
