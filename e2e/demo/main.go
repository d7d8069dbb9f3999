// Command demo tells the story of tufboot on a terminal, with a real machine in
// QEMU: a repository is made, a node boots, is updated, gets a bad update and
// rolls itself back. It needs no root and leaves nothing behind.
//
// Run it with `make demo`, or `go run ./e2e/demo` where the packages of
// scripts/deps are installed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"tufboot/e2e/lab"
	"tufboot/e2e/machine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	firmware := flag.String("firmware", string(machine.BIOS), "`FLAVOUR` of firmware: bios or uefi")
	onlyImage := flag.String("only-image", "", "make the keys, the repository and the disk in the folder `DIR`, and boot nothing")
	flag.Parse()
	var err error
	switch {
	case flag.NArg() > 0 || *firmware != string(machine.BIOS) && *firmware != string(machine.UEFI):
		flag.Usage()
		os.Exit(2)
	case *onlyImage != "":
		err = image(ctx, newPrinter(), *onlyImage)
	default:
		err = run(ctx, newPrinter(), machine.Firmware(*firmware))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo: error:", err)
		stop()
		os.Exit(1)
	}
}

// run prepares a folder, tells the story and removes the folder.
func run(ctx context.Context, out *printer, firmware machine.Firmware) error {
	begin := time.Now()
	dir, err := os.MkdirTemp("", "tufboot-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out.say("tufboot, a demonstration: a node is updated, gets a bad update, and rolls itself back.")
	out.say("Everything is real but the computer, which QEMU emulates (%s). Nothing is left behind.", firmware)
	out.say("Building agent and repo-tool ...")
	l, err := lab.New(ctx, dir)
	if err != nil {
		return err
	}
	defer l.Close()
	s := &story{printer: out, lab: l, firmware: firmware}
	defer s.end()
	if err := s.tell(ctx); err != nil {
		return err
	}
	out.say("")
	out.say("The whole story took %s.", time.Since(begin).Round(time.Second))
	return nil
}

// image makes what the story begins with, to keep.
func image(ctx context.Context, out *printer, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "keys")); err == nil {
		return fmt.Errorf("%s holds keys already: remove it first (make clean), or name another folder", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	l, err := lab.New(ctx, dir)
	if err != nil {
		return err
	}
	defer l.Close()
	s := &story{printer: out, lab: l}
	if err := s.prepare(ctx, false); err != nil {
		return err
	}
	out.say("")
	out.say("To boot it, with its serial console here (Ctrl-A X ends QEMU):")
	out.typed("$", fmt.Sprintf("%s serve --repo %s &", l.RepoTool, s.repo.Dir))
	out.typed("$", fmt.Sprintf("qemu-system-x86_64 -m 512 -nographic -drive if=virtio,format=raw,file=%s -nic user,model=virtio", s.disk()))
	return nil
}
