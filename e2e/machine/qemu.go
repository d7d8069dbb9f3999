// Package machine runs real machines for whole-system tests and the demo: QEMU
// in software emulation with real firmware, a real disk image and Debian's own
// kernel.
//
// A machine has two lines to the host. The serial console shows what firmware,
// GRUB and the kernel print, and takes keys. The command channel (channel.go)
// runs a command in the guest and brings back its output and exit status; it
// copes with guests that reboot or die at any moment.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// Firmware is the flavour of firmware that a machine starts with.
type Firmware string

// The two flavours: SeaBIOS and OVMF.
const (
	BIOS Firmware = "bios"
	UEFI Firmware = "uefi"
)

// Disk is one disk of a machine.
type Disk struct {
	Path string // a raw image, written in place
	USB  bool   // a USB stick that the firmware sees, else a virtio disk
	Boot bool   // the disk that the firmware boots first
	Log  string // a file that gets every write and flush, in their order; "": none
}

// Options describe a machine.
type Options struct {
	Name     string // for messages
	Firmware Firmware
	Disks    []Disk // in the order in which the machine finds them
	Dir      string // an existing folder for sockets, logs and UEFI variables
	MemoryMB int    // 0: 512
	Watchdog bool   // it has one (i6300esb), which resets it
	// Kernel, Initramfs and Cmdline, if given, start a kernel without firmware
	// and boot loader.
	Kernel, Initramfs, Cmdline string
}

// Machine is a running machine. End it with Stop or Kill.
type Machine struct {
	Options
	Serial *Serial

	cmd     *exec.Cmd
	channel *channel
	done    chan struct{} // closed when QEMU has ended
	err     error         // how; valid once done is closed
	once    sync.Once
}

// Timeout is how long a machine may take for a single step before a test gives
// up on it. It is a safety net for machines that hang, and not a measure.
const Timeout = 5 * time.Minute

// Start starts a machine and returns at once; WaitBoot waits until it is up.
func Start(o Options) (*Machine, error) {
	serial, err := listen(filepath.Join(o.Dir, "serial.sock"))
	if err != nil {
		return nil, err
	}
	defer serial.Close()
	commands, err := listen(filepath.Join(o.Dir, "commands.sock"))
	if err != nil {
		return nil, err
	}
	defer commands.Close()
	args, err := o.arguments()
	if err != nil {
		return nil, err
	}
	m := &Machine{Options: o, done: make(chan struct{})}
	m.cmd = exec.Command("qemu-system-x86_64", args...)
	m.cmd.Dir = o.Dir
	stderr, err := os.Create(filepath.Join(o.Dir, "qemu.log"))
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	m.cmd.Stderr = stderr
	m.cmd.SysProcAttr = dieWithParent()
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("QEMU (of the package qemu-system-x86): %w", err)
	}
	go func() {
		m.err = m.cmd.Wait()
		close(m.done)
	}()
	if err := m.connect(serial, commands); err != nil {
		m.Kill()
		log, _ := os.ReadFile(stderr.Name())
		return nil, fmt.Errorf("%s: QEMU did not start: %w\n%s", o.Name, err, log)
	}
	return m, nil
}

// connect takes QEMU's two connections; QEMU makes them before the guest runs.
func (m *Machine) connect(serial, commands net.Listener) error {
	console, err := m.accept(serial)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(m.Dir, "serial.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	m.Serial = newSerial(console, log)
	line, err := m.accept(commands)
	if err != nil {
		return err
	}
	m.channel = newChannel(line)
	return nil
}

func (m *Machine) accept(l net.Listener) (net.Conn, error) {
	conns := make(chan net.Conn, 1)
	errs := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			errs <- err
			return
		}
		conns <- c
	}()
	select {
	case c := <-conns:
		return c, nil
	case err := <-errs:
		return nil, err
	case <-m.done:
		return nil, errors.Join(errors.New("it ended"), m.err)
	}
}

func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}

// Kill ends the machine at once, in the middle of whatever it does: a power
// cut. What the guest has written to its disks is in the image files; what it
// held in its page cache is lost.
func (m *Machine) Kill() {
	m.once.Do(func() {
		_ = m.cmd.Process.Kill()
	})
	<-m.done
	if m.channel != nil {
		m.channel.close()
	}
	if m.Serial != nil {
		m.Serial.close()
	}
}

// Stop switches the machine off in good order: the guest syncs first.
func (m *Machine) Stop(ctx context.Context) error {
	defer m.Kill()
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if err := m.channel.send("sync; umount -a; poweroff -f"); err != nil {
		return m.fail("switching off", err)
	}
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return m.fail("switching off", ctx.Err())
	}
}

// fail wraps err with the end of the serial log, for a reader who cannot look
// at the machine any more.
func (m *Machine) fail(doing string, err error) error {
	return fmt.Errorf("%s: %s: %w\nthe last lines of its console:\n%s", m.Name, doing, err, m.Serial.Tail(60))
}

// copyFile copies the file from to the file to, keeping holes.
func copyFile(from, to string) error {
	out, err := exec.Command("cp", "--sparse=always", "--reflink=auto", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copying %s: %w: %s", from, err, out)
	}
	return nil
}

// drain reads r to its end.
func drain(r io.Reader) { _, _ = io.Copy(io.Discard, r) }
