package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tufboot/e2e/lab"
	"tufboot/e2e/machine"
	"tufboot/grub"
)

// candidate is the version that a node is updated to.
const candidate = "v2"

// recording is what a story is made of, and what is left of it.
type recording struct {
	story
	firmware machine.Firmware
	repo     *lab.Repo
	image    machine.Image // the disk as it was at the beginning
}

// storyName returns a story's name, such as good-bios.
func storyName(firmware machine.Firmware, healthy bool) string {
	return map[bool]string{true: "good", false: "bad"}[healthy] + "-" + string(firmware)
}

// record lets a machine live the story, with everything that its disk is asked for
// in a log.
func (w *workshop) record(ctx context.Context, firmware machine.Firmware, healthy bool) (r *recording, err error) {
	name := storyName(firmware, healthy)
	r = &recording{story: story{name: name, candidate: candidate, healthy: healthy}, firmware: firmware}
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if r.repo, err = w.lab.NewRepo(ctx, name); err != nil {
		return nil, err
	}
	first, err := r.repo.GoodRelease(firstRelease)
	if err != nil {
		return nil, err
	}
	second, err := r.repo.GoodRelease(candidate)
	if !healthy {
		second, err = r.repo.UnhealthyRelease(candidate)
	}
	if err != nil {
		return nil, err
	}
	if err := r.repo.Publish(ctx, first); err != nil {
		return nil, err
	}
	if r.image, err = r.repo.Disk(ctx, first, filepath.Join(dir, "begin.img")); err != nil {
		return nil, err
	}
	cfg, err := w.config()
	if err != nil {
		return nil, err
	}
	if err := r.image.WriteESP("grub/grub.cfg", cfg); err != nil {
		return nil, err
	}
	if err := r.repo.Publish(ctx, second); err != nil {
		return nil, err
	}
	return r, r.live(ctx, dir)
}

// config returns the grub.cfg that the machine boots by. It must not wait for a key:
// GRUB is run thousands of times.
func (w *workshop) config() ([]byte, error) {
	if w.grubcfg != "" {
		return os.ReadFile(w.grubcfg)
	}
	return grub.Config(grub.ConfigOptions{Timeout: -1, RebootAfter: -1})
}

// live runs the machine from before the update to where its outcome is certain.
func (r *recording) live(ctx context.Context, dir string) (err error) {
	disk, err := r.image.CopyTo(filepath.Join(dir, "end.img"))
	if err != nil {
		return err
	}
	r.log = filepath.Join(dir, "log")
	if err := os.WriteFile(r.log, nil, 0o644); err != nil {
		return err
	}
	m, err := machine.Start(machine.Options{
		Name: r.name, Firmware: r.firmware, Dir: dir,
		Disks: []machine.Disk{{Path: disk.Path, Boot: true, Log: r.log}},
	})
	if err != nil {
		return err
	}
	defer m.Kill()
	steps := []step{{"", machine.Boot{Slot: "A", Release: firstRelease}}, {machine.WaitForGate, machine.Boot{}}, {"agent update", machine.Boot{}}}
	if r.healthy {
		steps = append(steps, step{"reboot -n -f", machine.Boot{Slot: "B", Release: candidate, Try: 1}})
	} else { // after each of the three the gate reboots the machine
		steps = append(steps, step{"reboot -n -f", machine.Boot{Slot: "B", Release: candidate, Try: 1}},
			step{"", machine.Boot{Slot: "B", Release: candidate, Try: 2}}, step{"", machine.Boot{Slot: "B", Release: candidate, Try: 3}},
			step{"", machine.Boot{Slot: "A", Release: firstRelease}})
	}
	steps = append(steps, step{machine.WaitForGate, machine.Boot{}})
	for _, s := range steps {
		if err := s.do(ctx, m); err != nil {
			return fmt.Errorf("record %s: %w", r.name, err)
		}
	}
	if err := m.Stop(ctx); err != nil { // so that the last flush is in the log
		return fmt.Errorf("record %s: %w", r.name, err)
	}
	envAt, err := r.image.EnvOffset()
	if err != nil {
		return err
	}
	return r.open(envAt)
}

// step is something that a machine is told, and the boot that follows, if one does.
type step struct {
	script string
	boot   machine.Boot
}

func (s step) do(ctx context.Context, m *machine.Machine) error {
	if s.boot == (machine.Boot{}) {
		r, err := m.Exec(ctx, s.script)
		if err == nil && r.Status != 0 {
			err = fmt.Errorf("%q: exit status %d: %s%s", s.script, r.Status, r.Stdout, r.Stderr)
		}
		return err
	}
	if s.script != "" {
		if err := m.Begin(s.script); err != nil {
			return err
		}
	}
	got, err := m.WaitBoot(ctx)
	if err == nil && (got.Slot != s.boot.Slot || got.Release != s.boot.Release || got.Try != s.boot.Try) {
		err = fmt.Errorf("it came up with %s, not with %s\n%s", got, s.boot, m.Serial.Tail(40))
	}
	return err
}

// slotOf is a slot of an image.
type slotOf struct {
	image string
	slot  grub.Slot
}

// digests returns the digests of the release's files as they are on a disk: slot B at
// the end holds the candidate, slot A the first release.
func (r *recording) digests(ctx context.Context, dir string) (map[string]digests, error) {
	all := make(map[string]digests)
	for version, slot := range map[string]slotOf{firstRelease: {r.image.Path, grub.SlotA}, candidate: {filepath.Join(dir, "end.img"), grub.SlotB}} {
		all[version] = make(digests)
		for _, name := range slotFiles() {
			sum, err := fileSum(ctx, slot.image, slot.slot, name)
			if err != nil {
				return nil, err
			}
			all[version][name] = sum
		}
	}
	return all, r.published(all)
}

// published compares what was found in slots with what was published.
func (r *recording) published(all map[string]digests) error {
	for version, files := range all {
		for _, name := range []string{"vmlinuz", "initramfs"} {
			found, err := filepath.Glob(filepath.Join(r.repo.Dir, "targets", "releases", version, "*", files[name]+"."+name))
			if err != nil || len(found) != 1 {
				return errors.Join(err, fmt.Errorf("release %s has no %s with SHA-256 %s", version, name, files[name]))
			}
		}
	}
	return nil
}

// count returns how many writes and flushes the disk got.
func (r *recording) count() (writes, flushes int) {
	for _, q := range r.requests {
		if q.size > 0 {
			writes++
		}
		if q.flush {
			flushes++
		}
	}
	return writes, flushes
}

func (r *recording) String() string {
	writes, flushes := r.count()
	return fmt.Sprintf("%s: %d writes, %d flushes", r.name, writes, flushes)
}
