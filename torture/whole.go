package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"tufboot/e2e/machine"
)

// bootWhole boots a copy of the disk on a whole machine, which must come to rest and
// then update itself. It waits until there is a place for the machine, and not for the
// machine: workshop.machines does.
func (k *worker) bootWhole(ctx context.Context, c cut) error {
	select {
	case k.w.places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	dir, err := os.MkdirTemp(k.w.dir, "whole-")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "disk.img")
	if err := copyAll(k.disk.file.Name(), path); err != nil {
		return err
	}
	k.w.machines.Go(func() {
		defer func() { <-k.w.places }()
		defer os.RemoveAll(dir)
		err := k.r.liveOn(k.ctx, dir, path, c)
		k.tally.add(func() {
			k.tally.whole++
			if err != nil {
				k.tally.violations = append(k.tally.violations, violation{updates, c, err.Error()})
			}
		})
	})
	return nil
}

// liveOn starts a machine from a disk. The error says what is wrong with it.
func (r *recording) liveOn(ctx context.Context, dir, disk string, c cut) error {
	m, err := machine.Start(machine.Options{
		Name: c.String(), Firmware: r.firmware, Dir: dir, Disks: []machine.Disk{{Path: disk, Boot: true}},
	})
	if err != nil {
		return err
	}
	defer m.Kill()
	for range 6 {
		b, err := m.WaitBoot(ctx)
		if err != nil {
			return err
		}
		if b.Release == candidate && !r.healthy {
			continue // its gate reboots the machine
		}
		to := map[string]string{"A": "B", "B": "A"}[b.Slot]
		for _, s := range []step{
			{script: machine.WaitForGate}, {script: "agent status"}, {script: "agent update"},
			{"reboot -n -f", machine.Boot{Slot: to, Release: next, Try: 1}}, {script: machine.WaitForGate},
		} {
			if err := s.do(ctx, m); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("it comes to no rest")
}
