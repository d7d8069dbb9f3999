package main

import (
	"context"
	"fmt"
	"path/filepath"

	"tufboot/e2e/machine"
)

// next is the version to which a machine must be able to update after a power cut.
const next = "v3"

// bootWhole boots a copy of the disk on a whole machine, which must come to rest and
// then update itself.
func (w *workshop) bootWhole(ctx context.Context, t *tally, d *disk, c cut) error {
	t.whole++
	r := w.recordings[c.story.name]
	dir := filepath.Join(w.dir, c.story.name)
	path := filepath.Join(dir, "whole.img")
	if err := d.copyTo(path); err != nil {
		return err
	}
	m, err := machine.Start(machine.Options{
		Name: c.String(), Firmware: r.firmware, Dir: dir, Disks: []machine.Disk{{Path: path, Boot: true}},
	})
	if err != nil {
		return err
	}
	defer m.Kill()
	if err := r.surviveAndUpdate(ctx, m); err != nil {
		if ctx.Err() != nil {
			return err
		}
		t.violations = append(t.violations, violation{updates, c, err.Error()})
	}
	return nil
}

func (r *recording) surviveAndUpdate(ctx context.Context, m *machine.Machine) error {
	for range 6 {
		b, err := m.WaitBoot(ctx)
		if err != nil {
			return err
		}
		if b.Release == candidate && !r.healthy {
			continue // its gate reboots the machine
		}
		if err := (step{script: machine.WaitForGate}).do(ctx, m); err != nil {
			return err
		}
		if err := (step{script: "agent status"}).do(ctx, m); err != nil {
			return err
		}
		if err := (step{script: "agent update"}).do(ctx, m); err != nil {
			return err
		}
		to := map[string]string{"A": "B", "B": "A"}[b.Slot]
		if err := (step{"reboot -n -f", machine.Boot{Slot: to, Release: next, Try: 1}}).do(ctx, m); err != nil {
			return err
		}
		return step{script: machine.WaitForGate}.do(ctx, m)
	}
	return fmt.Errorf("it comes to no rest")
}
