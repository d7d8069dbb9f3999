package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"

	"tufboot/grub"
)

// digests are the SHA-256 of the files of a release in a slot, by name.
type digests map[string]string

// manifestFile tells of which release a slot's other files must be.
const manifestFile = "release.json"

// slotFiles are what a boot needs of a slot, the manifest first.
func slotFiles() []string {
	return []string{manifestFile, grub.CmdlineFile, grub.KernelFile, grub.InitramfsFile}
}

// content is what GRUB finds in a slot.
type content struct {
	version  string // of the release that is there, every file of it whole; "" if none
	manifest string // version of the release whose manifest is there; "" if none
	wrong    string // why there is no whole release
}

// readSlot reads a slot by GRUB's own file-system code, which replays no journal,
// and compares it with the releases.
func readSlot(ctx context.Context, path string, slot grub.Slot, releases map[string]digests) (content, error) {
	version := ""
	for _, name := range slotFiles() {
		sum, err := fileSum(ctx, path, slot, name)
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			return content{manifest: version, wrong: fmt.Sprintf("GRUB cannot read %s in slot %s: %v", name, slot, err)}, nil
		case err != nil:
			return content{}, err
		}
		if name == manifestFile {
			for v, want := range releases {
				if want[name] == sum {
					version = v
				}
			}
		}
		if releases[version][name] != sum {
			return content{manifest: version, wrong: fmt.Sprintf("%s in slot %s is that of no release (it would be %q)", name, slot, version)}, nil
		}
	}
	return content{version: version, manifest: version}, nil
}

// fileSum returns the SHA-256 of a slot's file, in hex.
func fileSum(ctx context.Context, path string, slot grub.Slot, name string) (string, error) {
	part := map[grub.Slot]int{grub.SlotA: 2, grub.SlotB: 3}[slot]
	h := sha256.New()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "grub-fstest", path, "cat", fmt.Sprintf("(loop0,gpt%d)/%s", part, name))
	cmd.Stdout, cmd.Stderr = h, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
