package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	sys "golang.org/x/sys/unix"

	"tufboot/internal/atomicfile"
	"tufboot/metadata/repository"
)

// signedFile lies beside a signer's keys and says what was signed last with them.
const signedFile = "signed.json"

// trustedFlags are what a signer compares an event with.
func trustedFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "trusted-root", Usage: "your own copy of the root.json that you trust, `FILE`: an event that does not start from it, or from a successor, is refused"},
		&cli.StringFlag{Name: "trusted-targets", Usage: "your own copy of the newest N.targets.json that you saw or signed, `FILE`: an event that starts from an older one is refused"},
	}
}

// checkTrusted compares an event with what --trusted-root and --trusted-targets
// name.
func checkTrusted(c *cli.Context, event *repository.Event) error {
	for _, t := range []struct {
		flag  string
		check func([]byte) error
	}{
		{"trusted-root", event.CheckTrusted},
		{"trusted-targets", event.CheckTrustedTargets},
	} {
		if !c.IsSet(t.flag) {
			continue
		}
		data, err := os.ReadFile(c.String(t.flag))
		if err != nil {
			return err
		}
		if err := t.check(data); err != nil {
			return err
		}
	}
	return nil
}

// checkSigned compares an event with what was signed last with the keys.
func checkSigned(c *cli.Context, event *repository.Event) error {
	for _, dir := range c.StringSlice("keys") {
		path := filepath.Join(dir, signedFile)
		memory, err := readSigned(path)
		if err != nil {
			return err
		}
		if memory == nil {
			continue
		}
		if err := event.CheckMemory(memory, c.Bool("unsafe-older-base")); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// readSigned returns nil where nothing was signed yet.
func readSigned(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("what was signed last: %w", err)
	}
	return data, nil
}

// noteSigned writes down beside the keys what is signed. A folder that cannot be
// written, such as one on a read-only stick, keeps no note, and that is said.
func noteSigned(c *cli.Context, event *repository.Event) error {
	for _, dir := range c.StringSlice("keys") {
		path := filepath.Join(dir, signedFile)
		before, err := readSigned(path)
		if err != nil {
			return err
		}
		memory, err := event.Memory(before)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		err = atomicfile.Write(path, memory, 0o644)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, sys.EROFS) {
			fmt.Fprintf(c.App.ErrWriter, "repo-tool: warning: no note of what is signed is kept (%v): give --trusted-root and --trusted-targets each time\n", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("note what is signed: %w", err)
		}
	}
	return nil
}
