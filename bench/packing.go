package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packing is a way to compress an initramfs.
type packing struct {
	name string
	// pack packs an archive; bin is the folder with repo-tool.
	pack func(ctx context.Context, bin, archive, to string) error
	// ours can give something else than in an earlier run.
	ours bool
}

// packings are those that are compared; the last is the recommended one.
var packings = []packing{
	{name: "gzip", pack: compressed("gzip", "-n")},
	{name: "gzip --rsyncable", pack: compressed("gzip", "-n", "--rsyncable")},
	{name: "repo-tool repack", pack: repack, ours: true},
}

func repack(ctx context.Context, bin, archive, to string) error {
	return command(ctx, "", filepath.Join(bin, "repo-tool"), "repack", "-o", to, archive)
}

// recommended is the packing that the comparisons use.
func recommended() int { return len(packings) - 1 }

// compressed packs with a command that writes to its standard output.
func compressed(name string, args ...string) func(context.Context, string, string, string) error {
	return func(ctx context.Context, _, archive, to string) error {
		out, err := os.Create(to)
		if err != nil {
			return err
		}
		defer out.Close()
		cmd := exec.CommandContext(ctx, name, append(args, "-c", archive)...)
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return out.Close()
	}
}

// packed returns the release's initramfs in that packing, from the cache where
// it is there.
func (r *release) packed(ctx context.Context, bin string, p packing) (string, error) {
	to := filepath.Join(filepath.Dir(r.archive), "initramfs."+strings.ReplaceAll(p.name, " ", ""))
	if exists(to) && !p.ours {
		return to, nil
	}
	if err := p.pack(ctx, bin, r.archive, to+".new"); err != nil {
		return "", fmt.Errorf("release %d: %s: %w", r.version, p.name, err)
	}
	return to, os.Rename(to+".new", to)
}
