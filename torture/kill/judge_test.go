//go:build linux && amd64

package kill

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tufboot/grub"
	"tufboot/torture/kill/trace"
)

// findsBadNodes proves that the judge is no yes-man: each of these nodes is what a
// missing protection would leave, and it has to say so.
func findsBadNodes(t *testing.T, n *node, stories []*story) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var s *story
	for _, other := range stories {
		if other.name == "update" {
			s = other
		}
	}
	end := s.steps[len(s.steps)-1]
	block := func(change func(*grub.State)) func() error {
		return func() error {
			return n.withBlock(false, func(e grub.Env) error {
				_, err := e.Update(func(s grub.State) (grub.State, error) {
					change(&s)
					return s, nil
				})
				return err
			})
		}
	}
	for name, c := range map[string]struct {
		spoil func() error
		now   step // what is to be so; zero: the end
		want  string
	}{
		"nothing is wrong":        {spoil: func() error { return nil }},
		"the booted slot changed": {spoil: func() error { return n.overwrite(grub.SlotA, 5<<20) }, want: "the booted slot A has changed"},
		"a step back":             {spoil: block(func(s *grub.State) { s.Success, s.Active = true, grub.SlotA }), want: "the environment block holds"},
		"armed and not whole":     {spoil: func() error { return n.damage(grub.SlotB) }, want: "holds no whole release"},
		"not counted":             {spoil: block(func(s *grub.State) { s.Success, s.BootID, s.Counter = true, "", 0 }), now: uncounted(end), want: "was never proven"},
		"no way back":             {spoil: block(func(s *grub.State) { s.AOK = false }), now: noWayBack(end), want: "nothing whole boots"},
		"last-good is not proven": {spoil: func() error { return n.withBlock(false, func(e grub.Env) error { return e.WriteLastGood(grub.SlotB) }) }, want: "without the environment block"},
		"the state was forgotten": {spoil: func() error { return os.RemoveAll(n.run("state")) }, want: "agent status is wrong"},
		"the state is of no use":  {spoil: func() error { return os.WriteFile(n.run("state/state.json"), nil, 0o600) }, want: "agent status is wrong"},
		"something is left in it": {spoil: func() error { return os.WriteFile(n.run("state/left"), nil, 0o600) }, want: "only here: file"},
	} {
		if c.now.block == (grub.State{}) {
			c.now = end
		}
		err := errors.Join(n.restore(s.begin), n.completed(s), c.spoil())
		if err != nil {
			t.Fatal(err)
		}
		err = n.judge(s, c.now, trace.Point{N: 1})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the judge says %v, want %q", name, err, c.want)
		}
	}
	findsWhatIsHeld(t, n)
}

// findsWhatIsHeld: a partition that is open, and a lock.
func findsWhatIsHeld(t *testing.T, n *node) {
	defer func(before time.Duration) { n.patience = before }(n.patience)
	n.patience = 0
	fd, err := unix.Open(n.disk.SystemB.Device, unix.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.nothingHeld(); err == nil {
		t.Error("the judge finds no open partition")
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(n.run("state"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(n.run("state/lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := n.nothingHeld(); err == nil {
		t.Error("the judge finds no lock")
	}
}

// uncounted and noWayBack return what a step would be if its protection were missing.
func uncounted(s step) step {
	s.block.Success, s.block.BootID, s.block.Counter = true, "", 0
	return s
}

func noWayBack(s step) step {
	s.block.AOK = false
	return s
}

// completed runs a story to its end.
func (n *node) completed(s *story) error {
	_, err := n.plain(s.newest, s.command...)
	return err
}

// overwrite changes a byte of a slot.
func (n *node) overwrite(slot grub.Slot, at int64) error {
	p, b := n.disk.Slot(slot), []byte{0}
	if _, err := n.file.ReadAt(b, p.Start+at); err != nil {
		return err
	}
	b[0]++
	_, err := n.file.WriteAt(b, p.Start+at)
	return err
}
