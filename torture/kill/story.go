//go:build linux && amd64

package kill

import (
	"errors"
	"fmt"
	"os"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/torture/kill/trace"
)

// story is a run of the agent, and what may be found behind it wherever it is killed.
type story struct {
	name    string
	command []string
	newest  string // the repository's newest release
	begin   *snapshot
	runs    grub.Slot // the slot that is booted: nothing of it may change
	code    int       // exit code of a run that nobody disturbs
	// steps are the boot states that it goes through, the first at its beginning.
	steps []step
	again refused // what it says when all is done already
	final []string
	end   []string // as ending says it
	calls int      // that change something, in a run that nobody disturbs
}

// step is a boot state, and what is true as long as it stands.
type step struct {
	block      grub.State // without the token
	proven     []string   // releases that may boot uncounted
	rests      string     // the release to which the machine comes when no boot ends well
	situations []update.Situation
	rotten     grub.Slot // may be booted, and holds nothing whole; "" if there is none
}

// refused is an exit code and the reason for it.
type refused struct {
	code   int
	reason string
}

// committed, armed and gaveUp are boot states, written by hand: the model's
// transitions are not asked what they should be.
func committed(active grub.Slot, aOK, bOK bool) grub.State {
	return grub.State{Active: active, Success: true, AOK: aOK, BOK: bOK}
}

func armed(active grub.Slot, left int) grub.State {
	return grub.State{Active: active, Counter: left, AOK: true, BOK: true, BootID: "some"}
}

func gaveUp(left grub.Slot) grub.State {
	s := committed(left.Other(), left != grub.SlotA, left != grub.SlotB)
	s.BootID = "some"
	return s
}

// teller lets a node live through everything that the stories are taken from.
type teller struct {
	*node
	all []*story
}

// tell returns the stories.
func tell(n *node) ([]*story, error) {
	t := &teller{node: n}
	for _, part := range []func() error{t.firstUpdate, t.trial, t.afterTrial} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	return t.all, nil
}

// add takes a story that begins as the node is now, and lives it to its end.
func (t *teller) add(s story) error {
	if err := t.live(&s); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	t.all = append(t.all, &s)
	return nil
}

// firstUpdate ends with release 2 armed in slot B.
func (t *teller) firstUpdate() error {
	tale := func(name string, rotten grub.Slot) story {
		return story{
			name: name, command: []string{"update"}, newest: "2", runs: grub.SlotA, again: refused{3, update.ReasonRebootPending}, final: []string{"2"},
			steps: []step{
				{committed(grub.SlotA, true, true), []string{"1"}, "1", fresh(), rotten},
				{committed(grub.SlotA, true, false), []string{"1"}, "1", noted(), ""},
				{armed(grub.SlotB, 3), []string{"1"}, "1", is(update.SituationArmed), ""},
			},
		}
	}
	if err := t.boot(grub.Outcome{Slot: grub.SlotA}); err != nil {
		return err
	}
	begin, err := t.snapshot()
	if err != nil {
		return err
	}
	if err := t.damage(grub.SlotB); err != nil {
		return err
	}
	if err := t.add(tale("update-damaged-slot", grub.SlotB)); err != nil {
		return err
	}
	if err := t.restore(begin); err != nil {
		return err
	}
	return t.add(tale("update", ""))
}

// trial lets release 2 come up in slot B. It ends with the trial marked good.
func (t *teller) trial() error {
	if _, err := t.reboot(); err != nil {
		return err
	}
	begin, err := t.snapshot()
	if err != nil {
		return err
	}
	start := step{armed(grub.SlotB, 2), []string{"1"}, "1", is(update.SituationTrial), ""}
	if err := t.add(story{
		name: "rollback-of-trial", command: []string{"rollback"}, newest: "2", runs: grub.SlotB, again: refused{3, update.ReasonRebootPending}, final: []string{"1", "2"},
		steps: []step{start, {gaveUp(grub.SlotB), []string{"1"}, "1", is(update.SituationOtherSlot), ""}},
	}); err != nil {
		return err
	}
	if err := errors.Join(t.restore(begin), os.WriteFile(t.run("unhealthy"), nil, 0o600)); err != nil {
		return err
	}
	if err := t.add(story{
		name: "unhealthy", command: []string{"healthcheck", "--reboot-on-failure", "--wait", "50ms"}, newest: "2", runs: grub.SlotB, code: 5,
		final: []string{"2"}, steps: []step{start},
	}); err != nil {
		return err
	}
	for range grub.Attempts { // GRUB tries it twice more, and goes back
		if _, err := t.reboot(); err != nil {
			return err
		}
	}
	if err := t.add(story{
		name: "rolled-back", command: []string{"update"}, newest: "2", runs: grub.SlotA, code: 3, final: []string{"1"},
		steps: []step{{gaveUp(grub.SlotB), []string{"1"}, "1", is(update.SituationRolledBack, update.SituationCommitted), ""}},
	}); err != nil {
		return err
	}
	if err := t.restore(begin); err != nil {
		return err
	}
	good := is(update.SituationJustCommitted, update.SituationCommitted)
	return t.add(story{
		name: "mark-good", command: []string{"healthcheck"}, newest: "2", runs: grub.SlotB, final: []string{"2"},
		steps: []step{start, {committed(grub.SlotB, true, true), []string{"1", "2"}, "2", good, ""}},
	})
}

// afterTrial begins with release 2 committed in slot B.
func (t *teller) afterTrial() error {
	begin, err := t.snapshot()
	if err != nil {
		return err
	}
	both := []string{"1", "2"}
	start := step{committed(grub.SlotB, true, true), both, "2", fresh(), ""}
	if err := t.add(story{
		name: "rollback", command: []string{"rollback"}, newest: "2", runs: grub.SlotB, again: refused{3, update.ReasonRebootPending}, final: both,
		steps: []step{start, {committed(grub.SlotA, true, true), both, "1", is(update.SituationOtherSlot), ""}},
	}); err != nil {
		return err
	}
	if err := t.restore(begin); err != nil {
		return err
	}
	return t.add(story{
		name: "update-by-delta", command: []string{"update"}, newest: "3", runs: grub.SlotB, again: refused{3, update.ReasonRebootPending}, final: []string{"3"},
		steps: []step{
			start,
			{committed(grub.SlotB, false, true), both, "2", noted(), ""},
			{armed(grub.SlotA, 3), both, "2", is(update.SituationArmed), ""},
		},
	})
}

func is(situations ...update.Situation) []update.Situation { return situations }

func fresh() []update.Situation { return is(update.SituationCommitted) }

// noted is while a slot is written, and when the trial is written down that is not
// armed yet.
func noted() []update.Situation { return is(update.SituationCommitted, update.SituationNeverArmed) }

// live runs a story that nobody disturbs.
func (n *node) live(s *story) (err error) {
	if s.again == (refused{}) {
		s.again.code = s.code
	}
	if s.begin, err = n.snapshot(); err != nil {
		return err
	}
	r, err := n.traced(s.newest, s.command, trace.Point{})
	if err != nil {
		return err
	}
	if r.Code != s.code {
		return fmt.Errorf("it ends with exit code %d: %s", r.Code, r.Stderr)
	}
	s.calls = len(r.Calls)
	s.end, err = n.ending()
	return err
}

// damage overwrites the superblock of a slot.
func (n *node) damage(slot grub.Slot) error {
	p := n.disk.Slot(slot)
	if _, err := n.file.WriteAt(make([]byte, 64<<10), p.Start); err != nil {
		return err
	}
	return dropCache(p.Device)
}
