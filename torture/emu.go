package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"tufboot/grub"
)

// emulator runs GRUB's own code on a disk, by the real grub.cfg that is on it.
type emulator struct {
	dir string // of the helper disk and the device maps
}

// helper is the grub.cfg of a second disk, from which grub-emu starts. It has no
// loader, so that functions can take the commands' names: they fail where the
// commands would, say what they are given, and end GRUB where a kernel would
// start. Then the disk under test is all that GRUB knows, as after a boot from it.
const helper = `function linux {
  if [ ! -f "$1" ]; then return 1; fi
  for word in "$@"; do echo "@word $word"; done
}
function initrd {
  if [ ! -f "$1" ]; then return 1; fi
  echo "@boot $1"
  reboot
}
set root=hd0,gpt1
set prefix=(hd0,gpt1)/grub
configfile (hd0,gpt1)/grub/grub.cfg
echo "@no grub.cfg"
reboot
`

func newEmulator(ctx context.Context, dir string) (*emulator, error) {
	files := filepath.Join(dir, "helper")
	if err := os.MkdirAll(filepath.Join(files, "start"), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(files, "start", "grub.cfg"), []byte(helper), 0o644); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext2", "-d", files, files+".img", "1M").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("mke2fs (of the package e2fsprogs): %w: %s", err, out)
	}
	return &emulator{dir: dir}, nil
}

// boot is what GRUB did in one boot.
type boot struct {
	grub.Booted          // what the kernel was told
	words       []string // the kernel's arguments
	wrong       string   // why nothing was booted; "" if something was
	writes      []change // what GRUB wrote
}

// cmdline is what /proc/cmdline holds after the boot.
func (b boot) cmdline() string { return strings.Join(b.words, " ") }

// run starts GRUB from a disk.
func (e *emulator) run(ctx context.Context, d *disk) (boot, error) {
	devices, err := os.CreateTemp(e.dir, "devices-")
	if err != nil {
		return boot{}, err
	}
	defer os.Remove(devices.Name())
	fmt.Fprintf(devices, "(hd0) %s\n(hd1) %s\n", d.path, filepath.Join(e.dir, "helper.img"))
	if err := devices.Close(); err != nil {
		return boot{}, err
	}
	cmd := exec.CommandContext(ctx, "grub-emu", "-r", "hd1", "-m", devices.Name(), "-d", "/start")
	cmd.Env = []string{"TERM=dumb", "LC_ALL=C"}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return boot{}, err
	}
	if err := cmd.Start(); err != nil {
		return boot{}, fmt.Errorf("grub-emu (of the package grub-emu): %w", err)
	}
	output, waits := watch(pipe)
	if waits {
		_ = cmd.Process.Kill()
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return boot{}, ctx.Err()
	case waits:
		return boot{wrong: "GRUB waits for a person"}, nil
	case err != nil:
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return boot{}, err
		}
		return boot{wrong: "GRUB crashed: " + err.Error()}, nil
	}
	return parseBoot(output), nil
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

func parseBoot(output string) boot {
	output = regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]|\r`).ReplaceAllString(output, "")
	var b boot
	var kernel, initramfs string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if word, ok := strings.CutPrefix(line, "@word "); ok {
			if strings.HasSuffix(word, "/"+grub.KernelFile) {
				kernel, b.words = word, nil
				continue
			}
			b.words = append(b.words, word)
		}
		if file, ok := strings.CutPrefix(line, "@boot "); ok {
			initramfs = file
		}
	}
	if initramfs == "" {
		return boot{wrong: "GRUB boots nothing:\n" + output}
	}
	var err error
	if b.Booted, err = grub.ParseKernelCmdline(b.cmdline()); err != nil {
		return boot{wrong: err.Error()}
	}
	part := map[grub.Slot]string{grub.SlotA: "(hd0,gpt2)/", grub.SlotB: "(hd0,gpt3)/"}[b.Slot]
	if part == "" || kernel != part+grub.KernelFile || initramfs != part+grub.InitramfsFile {
		return boot{wrong: fmt.Sprintf("slot %q has kernel %s and initramfs %s", b.Slot, kernel, initramfs)}
	}
	return b
}
