//go:build linux && amd64

package kill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/torture/kill/trace"
)

// try kills one run of a story, and judges what it left. over says that the run ended
// before it came to the point. The error names what is wrong, and the call.
func (n *node) try(s *story, at trace.Point) (over bool, err error) {
	if err := n.restore(s.begin); err != nil {
		return false, err
	}
	r, err := n.traced(s.newest, s.command, at)
	if err != nil {
		return false, fmt.Errorf("%s:%s: %w: %s", s.name, at, err, r.Stderr)
	}
	if !r.Killed {
		if r.Code != s.code {
			return true, fmt.Errorf("%s: a run that nobody disturbed ends with %d: %s", s.name, r.Code, r.Stderr)
		}
		return true, nil
	}
	if err := n.judge(s, s.steps[s.reached(r.Done)], at); err != nil {
		return false, fmt.Errorf("%s:%s, at %s: %w", s.name, at, r.Calls[at.N-1], err)
	}
	return false, nil
}

// reached tells which of its steps a story had come to: the block is written once for
// each.
func (s *story) reached(done []trace.Call) int {
	steps := 0
	for _, c := range done {
		if c.Name == "pwrite64" && strings.HasSuffix(c.File, "/grub/"+grub.EnvFile) {
			steps++
		}
	}
	return min(steps, len(s.steps)-1)
}

// asked says at which calls GRUB itself is asked: at each one of so many.
const asked = 7

// judge looks at a node on which a run was killed, and lets it go on: by the same
// command once more, or by a reboot. Of two neighbouring cases one goes on this way
// and one that way, and what they find differs by nothing.
func (n *node) judge(s *story, now step, at trace.Point) error {
	if err := n.nothingHeld(); err != nil {
		return err
	}
	if err := n.untouched(s); err != nil {
		return err
	}
	b, err := n.boots()
	if err != nil {
		return fmt.Errorf("the environment block: %w", err)
	}
	if anonymous(b.State) != now.block {
		return fmt.Errorf("the environment block holds %+v, not %+v", b.State, now.block)
	}
	slots, err := n.slots()
	if err != nil {
		return err
	}
	if err := decides(b, now, slots); err != nil {
		return err
	}
	if at.N%asked == 0 {
		if err := n.asksGRUB(context.Background(), b); err != nil {
			return err
		}
	}
	if err := n.truthful(s, b, now, slots); err != nil {
		return err
	}
	if (at.N%2 == 0) == at.After {
		return n.goOn(s, now)
	}
	return n.startOver(s, now)
}

// nothingHeld: no partition is mounted or open, and no lock is held.
func (n *node) nothingHeld() error {
	for _, p := range n.partitions() {
		var fd int
		err := n.eventually(func() (err error) {
			fd, err = unix.Open(p.Device, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s (%s) is still mounted, or open: %w", p.Device, p.Name, err)
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	for _, name := range []string{"state/lock", "state/metadata"} {
		f, err := os.Open(n.run(name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = n.eventually(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
		f.Close()
		if err != nil {
			return fmt.Errorf("%s is still locked: %w", name, err)
		}
	}
	return nil
}

// eventually tries something until it goes well, or the patience ends.
func (n *node) eventually(try func() error) error {
	for end := time.Now().Add(n.patience); ; time.Sleep(time.Millisecond) {
		if err := try(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// untouched: the booted slot is bit for bit what it was.
func (n *node) untouched(s *story) error {
	p := n.disk.Slot(s.runs)
	have := make([]byte, p.Size)
	if _, err := n.file.ReadAt(have, p.Start); err != nil {
		return err
	}
	if !bytes.Equal(have, s.begin.disk[p.Start:p.Start+p.Size]) {
		return fmt.Errorf("the booted slot %s has changed", s.runs)
	}
	return nil
}

// decides boots as GRUB would, again and again, no boot ending well. What is booted is
// whole each time, and counted unless it is proven; in the end it is the release that
// was committed. With a block that is lost, a proven release boots.
func decides(b boots, now step, slots map[grub.Slot]content) error {
	facts := grub.Facts{LastGood: b.lastGood, NoKernelA: slots[grub.SlotA].whole == "", NoKernelB: slots[grub.SlotB].whole == ""}
	for _, slot := range []grub.Slot{grub.SlotA, grub.SlotB} {
		if b.OK(slot) && slots[slot].whole == "" && slot != now.rotten {
			return fmt.Errorf("slot %s may be booted, and holds no whole release", slot)
		}
	}
	state := b.State
	for range grub.Attempts + 2 {
		next, o := state.Boot(facts)
		version := slots[o.Slot].whole
		if version == "" {
			return fmt.Errorf("with %+v nothing whole boots", state)
		}
		counted := next.Trial() && next.Counter == state.Counter-1 && o.Try == grub.Attempts-next.Counter && o.BootID != ""
		if !counted && !slices.Contains(now.proven, version) {
			return fmt.Errorf("release %s boots uncounted with %+v, and was never proven", version, state)
		}
		if next == state {
			if version != now.rests {
				return fmt.Errorf("the machine comes to rest with release %s, not with %s", version, now.rests)
			}
			break
		}
		state = next
	}
	facts.Damaged = true
	if _, o := b.Boot(facts); !slices.Contains(now.proven, slots[o.Slot].whole) {
		return fmt.Errorf("without the environment block slot %q boots, with release %q", o.Slot, slots[o.Slot].whole)
	}
	return nil
}

// truthful: agent status says what is so.
func (n *node) truthful(s *story, b boots, now step, slots map[grub.Slot]content) error {
	a, err := n.plain(s.newest, "status")
	if err != nil {
		return err
	}
	if a.code != 0 {
		return fmt.Errorf("agent status: %s", a)
	}
	var st update.Status
	if err := json.Unmarshal(a.out, &st); err != nil {
		return fmt.Errorf("agent status: %w: %s", err, a.out)
	}
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("agent status is wrong: %s: %s", fmt.Sprintf(format, args...), a.out)
	}
	want := update.BootStatus{Active: b.Active, Success: b.Success, Counter: b.Counter, AOK: b.AOK, BOK: b.BOK, BootID: b.BootID}
	if st.Boot == nil || *st.Boot != want {
		return wrong("the block holds %+v", b.State)
	}
	if st.Booted.Slot != s.runs || !slices.Contains(now.situations, st.Situation) {
		return wrong("slot %s is booted, and the situation one of %v", s.runs, now.situations)
	}
	for slot, c := range slots {
		if st.Slots[slot].Version != c.says || (st.Slots[slot].Problem == "") != (c.says != "") {
			return wrong("slot %s has the manifest of release %q", slot, c.says)
		}
	}
	if st.Staged != nil && slots[st.Staged.Slot].whole != st.Staged.Version {
		return wrong("slot %s holds %q", st.Staged.Slot, slots[st.Staged.Slot].whole)
	}
	if b.Trial() && (st.Trial == nil || st.Trial.BootID != b.BootID) && st.Situation == update.SituationArmed {
		return wrong("a trial is armed as %s", b.BootID)
	}
	if len(st.Alarms) > 0 {
		return wrong("nothing is wrong with this node")
	}
	return nil
}

// goOn runs the same command once more. Then all is as if nobody had disturbed it.
func (n *node) goOn(s *story, now step) error {
	a, err := n.plain(s.newest, s.command...)
	if err != nil {
		return err
	}
	want := refused{code: s.code}
	if len(s.steps) > 1 && now.block == s.steps[len(s.steps)-1].block {
		want = s.again
	}
	if a.code != want.code || want.reason != "" && a.reason() != want.reason {
		return fmt.Errorf("once more, %v: %s", s.command, a)
	}
	end, err := n.ending()
	if err != nil {
		return err
	}
	if d := differ(end, s.end); d != "" {
		return fmt.Errorf("once more, and the end differs from that of a run that nobody disturbed:%s", d)
	}
	return n.nothingHeld()
}

// startOver reboots the machine, with a workload that is healthy by now, until its
// updates have come to an end.
func (n *node) startOver(s *story, now step) error {
	if err := os.RemoveAll(n.run("unhealthy")); err != nil {
		return err
	}
	for range 3 {
		o, err := n.reboot()
		if err != nil {
			return err
		}
		for _, verb := range []string{"healthcheck", "update"} {
			a, err := n.plain(s.newest, verb)
			if err != nil {
				return err
			}
			if a.code != 0 && (verb != "update" || a.reason() != update.ReasonFailedBefore) {
				return fmt.Errorf("after a reboot into slot %s: agent %s: %s", o.Slot, verb, a)
			}
		}
		b, err := n.boots()
		if err != nil {
			return err
		}
		if b.Trial() {
			continue // what was armed comes up next
		}
		slots, err := n.slots()
		if err != nil {
			return err
		}
		if version := slots[b.Active].whole; b.Active != o.Slot || !slices.Contains(s.final, version) {
			return fmt.Errorf("in the end slot %s is active with release %q, and slot %s is running; want one of %v", b.Active, version, o.Slot, s.final)
		}
		if b.lastGood != b.Active {
			return fmt.Errorf("in the end last-good names slot %s, and %s is committed", b.lastGood, b.Active)
		}
		return n.nothingHeld()
	}
	return errors.New("the node's updates come to no end")
}
