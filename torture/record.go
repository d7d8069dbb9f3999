package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tufboot/e2e/lab"
	"tufboot/e2e/machine"
	"tufboot/grub"
)

// The releases of a story, in their order: the one that is there, the one whose update
// is recorded, and the one that a node must be able to take after a power cut.
const (
	firstRelease = "v1"
	candidate    = "v2"
	next         = "v3"
)

// recording is what a story is made of, and what is left of it.
type recording struct {
	story
	firmware machine.Firmware
	ready    chan error    // says once that the rest is there, or why not
	dir      string        // has all of it, see shelf
	image    machine.Image // the disk as it was at the beginning
	repo     string        // folder of the repository, in which the next release waits
	server   string        // its address for programs on this host
	envAt    int64         // where the environment block is on the disk, in bytes
	goodAt   int64         // and last-good
	releases map[string]digests
}

// storyName returns a story's name, such as good-bios.
func storyName(firmware machine.Firmware, healthy bool) string {
	return map[bool]string{true: "good", false: "bad"}[healthy] + "-" + string(firmware)
}

func newRecording(firmware machine.Firmware, healthy bool) *recording {
	return &recording{
		story:    story{name: storyName(firmware, healthy), first: firstRelease, candidate: candidate, healthy: healthy},
		firmware: firmware, ready: make(chan error, 1),
	}
}

// record lets a machine live the story, with everything that its disk is asked for in
// a log, and leaves it all in the folder r.dir.
func (w *workshop) record(ctx context.Context, r *recording) error {
	repo, err := w.lab.NewRepo(ctx, r.name)
	if err != nil {
		return err
	}
	var releases []lab.Release
	for _, version := range []string{firstRelease, candidate, next} {
		release, err := repo.GoodRelease(version)
		if version == candidate && !r.healthy {
			release, err = repo.UnhealthyRelease(version)
		}
		if err != nil {
			return err
		}
		releases = append(releases, release)
	}
	if err := repo.Publish(ctx, releases[0]); err != nil {
		return err
	}
	begin, err := repo.Disk(ctx, releases[0], r.beginFile())
	if err != nil {
		return err
	}
	cfg, err := w.config()
	if err != nil {
		return err
	}
	if err := begin.WriteESP("grub/grub.cfg", cfg); err != nil {
		return err
	}
	if err := repo.Publish(ctx, releases[1]); err != nil {
		return err
	}
	if err := w.live(ctx, r, begin); err != nil {
		return fmt.Errorf("record %s: %w", r.name, err)
	}
	if err := repo.Publish(ctx, releases[2]); err != nil {
		return err
	}
	return copyAll(repo.Dir, filepath.Join(r.dir, "repo"))
}

func (r *recording) beginFile() string { return filepath.Join(r.dir, "begin.img") }
func (r *recording) logFile() string   { return filepath.Join(r.dir, "log") }

// copyAll copies a file, with its holes, or a folder.
func copyAll(from, to string) error {
	if out, err := exec.Command("cp", "-a", "--sparse=always", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
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
func (w *workshop) live(ctx context.Context, r *recording, begin machine.Image) error {
	dir := filepath.Join(w.dir, r.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	disk, err := begin.CopyTo(filepath.Join(dir, "end.img"))
	if err != nil {
		return err
	}
	defer os.Remove(disk.Path)
	if err := os.WriteFile(r.logFile(), nil, 0o644); err != nil {
		return err
	}
	m, err := machine.Start(machine.Options{
		Name: r.name, Firmware: r.firmware, Dir: dir,
		Disks: []machine.Disk{{Path: disk.Path, Boot: true, Log: r.logFile()}},
	})
	if err != nil {
		return err
	}
	defer m.Kill()
	for _, s := range r.steps() {
		if err := s.do(ctx, m); err != nil {
			return err
		}
	}
	return m.Stop(ctx) // so that the last flush is in the log
}

// steps are what happens in the story.
func (r *recording) steps() []step {
	steps := []step{{"", machine.Boot{Slot: "A", Release: firstRelease}}, {machine.WaitForGate, machine.Boot{}}, {"agent update", machine.Boot{}}}
	steps = append(steps, step{"reboot -n -f", machine.Boot{Slot: "B", Release: candidate, Try: 1}})
	if !r.healthy { // after each of the three the gate reboots the machine
		steps = append(steps, step{"", machine.Boot{Slot: "B", Release: candidate, Try: 2}},
			step{"", machine.Boot{Slot: "B", Release: candidate, Try: 3}},
			step{"", machine.Boot{Slot: "A", Release: firstRelease}})
	}
	return append(steps, step{machine.WaitForGate, machine.Boot{}})
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

// open reads what is in the recording's folder.
func (r *recording) open() (err error) {
	r.image, r.repo = machine.Image{Path: r.beginFile()}, filepath.Join(r.dir, "repo")
	if r.envAt, err = r.image.EnvOffset(); err != nil {
		return err
	}
	if r.goodAt, err = findBlock(r.image.Path, grub.LastGoodBlock(grub.SlotA)); err != nil {
		return fmt.Errorf("last-good: %w", err)
	}
	if r.releases, err = published(r.repo, firstRelease, candidate, next); err != nil {
		return err
	}
	r.log = r.logFile()
	return r.story.open(r.envAt)
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

// spell tells what the story is made of, for the key under which it is kept.
func (r *recording) spell() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v %s\n", r.name, r.healthy, r.firmware)
	for _, s := range r.steps() {
		fmt.Fprintf(&b, "%q %s\n", s.script, s.boot)
	}
	return b.String()
}
