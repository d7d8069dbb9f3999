package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"tufboot/grub"
)

// deltaMemory shows what a delta of the largest initramfs takes: of two releases
// of which 5 % differ, the first is in slot A, with its chunk maps and without
// them. The lab has published the first.
func (b *bench) deltaMemory(ctx context.Context) (string, error) {
	l := b.lab
	// A slot that holds the release already would be taken for the running one.
	if err := l.clear(ctx, grub.SlotB); err != nil {
		return "", err
	}
	if _, err := l.applyTo(ctx, grub.SlotA); err != nil {
		return "", err
	}
	for _, name := range []string{"kernel", "initramfs"} {
		if err := change(l.at(name), 0.05); err != nil {
			return "", err
		}
	}
	if err := l.release(ctx); err != nil {
		return "", err
	}
	var t table
	t.add(fmt.Sprintf("%d MB, 5 %% changed", initramfsSizes[len(initramfsSizes)-1]), "agent apply", "fetched", "peak memory of agent", "written / payload", "read / payload")
	for _, row := range []struct {
		name    string
		prepare func() error
	}{
		{"old files with their maps", func() error { return nil }},
		{"old files without", func() error { return l.removeMaps(ctx) }},
	} {
		if err := row.prepare(); err != nil {
			return "", err
		}
		var runs []cost
		for range b.rounds {
			c, err := l.apply(ctx)
			if err != nil {
				return "", err
			}
			runs = append(runs, c)
		}
		c := middle(runs)
		part := func(n int64) string { return fmt.Sprintf("%.3f", float64(n)/float64(l.payload)) }
		t.add(row.name, seconds(c.wall), megabytes(c.network), megabytes(c.memory), part(c.written), part(c.read))
	}
	return t.String(), nil
}

// change overwrites a part of a file, in 20 runs with equal distances.
func change(path string, part float64) error {
	const runs = 20
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fresh := make([]byte, int(float64(info.Size())*part/runs))
	for i := range int64(runs) {
		_, _ = rand.NewChaCha8([32]byte{byte(i), 'n'}).Read(fresh) // never fails
		if _, err := f.WriteAt(fresh, info.Size()/runs*i); err != nil {
			return err
		}
	}
	return f.Close()
}

// removeMaps takes the chunk maps out of slot A.
func (l *lab) removeMaps(ctx context.Context) error {
	point := l.at("mnt")
	if _, err := l.tool(ctx, "mount", l.part(grub.SlotA), point); err != nil {
		return err
	}
	maps, err := filepath.Glob(filepath.Join(point, "*.chunks"))
	if err == nil && len(maps) == 0 {
		err = errors.New("slot A has no chunk maps")
	}
	for _, name := range maps {
		err = errors.Join(err, os.Remove(name))
	}
	return errors.Join(err, syscall.Unmount(point, 0))
}
