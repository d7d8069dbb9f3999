package main

import (
	"context"
	"fmt"
	"path/filepath"

	"tufboot/grub"
)

// initramfsSizes are those that are measured, in MB.
var initramfsSizes = []int64{5, 100, 500}

// sizes shows that memory and ratios do not depend on the payload's size, and
// how fast the agent starts.
func (b *bench) sizes(ctx context.Context) (string, error) {
	if err := b.openLab(ctx); err != nil {
		return "", err
	}
	l := b.lab
	// The full path: the other slot has nothing to offer.
	if err := l.clear(ctx, grub.SlotA); err != nil {
		return "", err
	}
	var t table
	t.add("initramfs", "agent apply", "curl + sync + sha256sum", "ratio", "peak memory of agent", "written / payload", "read / payload")
	for _, mb := range initramfsSizes {
		if err := l.publish(ctx, mb); err != nil {
			return "", err
		}
		var ours, theirs []cost
		for range b.rounds {
			x, err := l.apply(ctx)
			if err != nil {
				return "", err
			}
			y, err := l.curl(ctx, mb)
			if err != nil {
				return "", err
			}
			ours, theirs = append(ours, x), append(theirs, y)
		}
		x, y := middle(ours), middle(theirs)
		part := func(n int64) string { return fmt.Sprintf("%.3f", float64(n)/float64(l.payload)) }
		t.add(fmt.Sprintf("%d MB", mb), seconds(x.wall), seconds(y.wall), times(x.wall, y.wall), megabytes(x.memory), part(x.written), part(x.read))
	}
	node := []string{"--root", l.at("repo/metadata/1.root.json"), "--disk", l.loop, "--booted-slot", "A", "--grubenv", l.at("grub/grubenv")}
	start, err := benchStart(ctx, filepath.Join(b.bin, "agent"), node, b.rounds)
	if err != nil {
		return "", err
	}
	memory, err := b.deltaMemory(ctx)
	return t.String() + "\n" + memory + "\n" + start, err
}
