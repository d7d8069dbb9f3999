package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"tufboot/e2e/lab"
	"tufboot/e2e/machine"
)

// story is the node that the story is about, and what belongs to it.
type story struct {
	*printer
	lab      *lab.Lab
	firmware machine.Firmware
	repo     *lab.Repo
	m        *machine.Machine

	stopServer func()
}

// tell tells the story, chapter by chapter.
func (s *story) tell(ctx context.Context) error {
	if err := s.prepare(ctx, true); err != nil {
		return err
	}
	for _, chapter := range []func(context.Context) error{s.boot, s.update, s.breakUpdate, s.look} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

// end switches the machine off.
func (s *story) end() {
	if s.m != nil {
		s.m.Kill()
	}
	if s.stopServer != nil {
		s.stopServer()
	}
}

// prepare makes keys, a repository with release v1, and a disk. The node will
// look for the repository at a server that runs already, or at the usual port.
func (s *story) prepare(ctx context.Context, serve bool) (err error) {
	s.lab.Show = func(args []string) { s.typed("$", command("repo-tool", s.shorten(args))) }
	s.chapter("On the release engineer's laptop: keys, a repository, a first release, a disk")
	s.say("Keys sign what nodes may run. (These have no password, for the demonstration only.)")
	if s.repo, err = s.lab.NewRepo(ctx, "demo"); err != nil {
		return err
	}
	s.say("The repository is a folder of files: any web server can hand it out.")
	s.repo.Server = "http://" + lab.GuestHost + ":8080"
	if serve {
		if s.stopServer, err = s.repo.Serve(ctx); err != nil {
			return err
		}
	}
	v1, err := s.repo.GoodRelease("v1")
	if err != nil {
		return err
	}
	s.say("A release is a kernel and an initramfs: here this host's kernel, busybox and the agent.")
	if err := s.repo.Publish(ctx, v1); err != nil {
		return err
	}
	s.say("The disk has GRUB, two slots for releases, A and B, and a partition for data. Both slots start with v1.")
	_, err = s.repo.Disk(ctx, v1, s.disk())
	return err
}

func (s *story) disk() string { return filepath.Join(s.lab.Dir, "demo.img") }

func (s *story) boot(ctx context.Context) error {
	s.chapter("The node boots")
	var err error
	s.m, err = machine.Start(machine.Options{
		Name: "demo", Firmware: s.firmware, Dir: s.lab.Dir,
		Disks: []machine.Disk{{Path: s.disk(), Boot: true}},
	})
	if err != nil {
		return err
	}
	go s.m.Serial.Follow(ctx, 0, s.showConsole)
	if err := s.expect(ctx, "A", "v1", 0); err != nil {
		return err
	}
	return s.node(ctx, "agent status", 0)
}

func (s *story) update(ctx context.Context) error {
	s.chapter("An update")
	v2, err := s.repo.GoodRelease("v2")
	if err != nil {
		return err
	}
	if err := s.repo.Publish(ctx, v2); err != nil {
		return err
	}
	s.say("The node writes v2 into the slot that is not running, reads it back, and arms a trial boot.")
	if err := s.node(ctx, "agent update", 0); err != nil {
		return err
	}
	if err := s.reboot(); err != nil {
		return err
	}
	if err := s.expect(ctx, "B", "v2", 1); err != nil {
		return err
	}
	s.good("v2 runs, its health checks passed, and slot B is now what GRUB boots.")
	return nil
}

func (s *story) breakUpdate(ctx context.Context) error {
	s.chapter("A bad update")
	v3, err := s.repo.UnhealthyRelease("v3")
	if err != nil {
		return err
	}
	s.say("v3 is signed like the others, and it boots. But its health check will never pass.")
	if err := s.repo.Publish(ctx, v3); err != nil {
		return err
	}
	if err := s.node(ctx, "agent update", 0); err != nil {
		return err
	}
	s.say("GRUB counts trial boots. After the third that was not marked good, it gives the slot up.")
	if err := s.reboot(); err != nil {
		return err
	}
	for try := range 3 {
		if err := s.expectUp(ctx, "A", "v3", try+1); err != nil {
			return err
		}
	}
	if err := s.expect(ctx, "B", "v2", 0); err != nil {
		return err
	}
	s.good("The node is back on v2. Nobody had to do anything.")
	return nil
}

func (s *story) look(ctx context.Context) error {
	s.chapter("Afterwards")
	s.say("The node remembers that v3 failed, and does not install it again:")
	if err := s.node(ctx, "agent update", 3); err != nil {
		return err
	}
	return s.node(ctx, "agent status", 0)
}

// reboot reboots the node.
func (s *story) reboot() error {
	s.typed("node#", "reboot")
	return s.m.Begin("reboot -f")
}

// expectUp waits until the node comes up as it should.
func (s *story) expectUp(ctx context.Context, slot, release string, try int) error {
	b, err := s.m.WaitBoot(ctx)
	if err != nil {
		return err
	}
	if b.Slot != slot || b.Release != release || b.Try != try {
		return fmt.Errorf("the node came up as %s; expected %s", b, machine.Boot{Slot: slot, Release: release, Try: try})
	}
	return nil
}

// expect waits until the node comes up as it should and its health gate has
// passed.
func (s *story) expect(ctx context.Context, slot, release string, try int) error {
	if err := s.expectUp(ctx, slot, release, try); err != nil {
		return err
	}
	r, err := s.m.Exec(ctx, machine.WaitForGate)
	if err == nil && r.Status != 0 {
		err = fmt.Errorf("the health gate of %s ended with exit code %d", release, r.Status)
	}
	return err
}

// node runs a command on the node and shows it.
func (s *story) node(ctx context.Context, command string, status int) error {
	s.typed("node#", command)
	r, err := s.m.Exec(ctx, "export TUFBOOT_LOG_LEVEL=warn; "+command+" 2>&1")
	if err != nil {
		return err
	}
	s.output(unfinished.ReplaceAllString(r.Stdout, ""))
	if r.Status != status {
		return fmt.Errorf("%q on the node: exit code %d, expected %d", command, r.Status, status)
	}
	if status != 0 {
		s.output(fmt.Sprintf("(exit code %d)", status))
	}
	return nil
}

// unfinished are the lines of progress before a download's last one.
var unfinished = regexp.MustCompile(`(?m)^\w+: \d0?% of \d+ bytes\n`)

// worthShowing are the lines of the console that belong to the story, without
// the kernel's time stamps.
var worthShowing = regexp.MustCompile(`^(?:\[ *[0-9.]+\] )?((?:tufboot|node|tufboot-gate): .*)`)

func (s *story) showConsole(line string) {
	if m := worthShowing.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
		s.console(once(m[1]))
	}
}

// once returns a line that is there twice only once: OVMF shows its screen, on
// which GRUB prints too, on the serial console.
func once(line string) string {
	if half := line[:len(line)/2]; line == half+half {
		return half
	}
	return line
}

// shorten leaves out what only this demonstration has in its paths.
func (s *story) shorten(args []string) []string {
	short := make([]string, len(args))
	for i, a := range args {
		short[i] = strings.TrimPrefix(a, s.lab.Dir+"/")
	}
	return short
}

// command returns a command line as one would type it, with long ones broken
// before their options.
func command(program string, args []string) string {
	line := program
	var lines []string
	for i, a := range args {
		word := a
		if strings.ContainsAny(a, " \t\"") {
			word = "'" + a + "'"
		}
		option := strings.HasPrefix(a, "--")
		if option && i+1 < len(args) && len(line)+len(word)+len(args[i+1]) > 90 {
			lines = append(lines, line)
			line = "     " + word
			continue
		}
		line += " " + word
	}
	return strings.Join(append(lines, line), " \\\n")
}
