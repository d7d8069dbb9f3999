package update_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tufboot/agent/update"
	"tufboot/metadata"
)

// editChannel changes the published channel file.
func (r *rig) editChannel(change func(c *metadata.Channel)) {
	r.t.Helper()
	target := metadata.ChannelTarget("stable")
	e, err := r.repo.Edit(r.t.Context())
	must(r.t, err)
	defer e.Close()
	must(r.t, e.UnlockFor(r.t.Context(), r.keys, target))
	data, err := e.ReadTarget(r.t.Context(), target)
	must(r.t, err)
	c, err := metadata.ParseChannel(data)
	must(r.t, err)
	change(c)
	data, err = c.Encode()
	must(r.t, err)
	_, err = e.AddBytes(r.t.Context(), target, data)
	must(r.t, err)
	_, err = e.Commit(r.t.Context(), r.keys)
	must(r.t, err)
}

// setRef changes the channel's pointer.
func (r *rig) setRef(change func(ref *metadata.ReleaseRef)) {
	r.t.Helper()
	r.editChannel(func(c *metadata.Channel) {
		ref := c.Releases[arch]
		change(&ref)
		c.Releases[arch] = ref
	})
}

// rollOut publishes a release to everybody in waves from the rig's time on.
func (r *rig) rollOut(version string, waves ...metadata.Wave) (start time.Time, id metadata.ID) {
	r.t.Helper()
	r.publish(version)
	start = r.now.UTC().Truncate(time.Second)
	r.setRef(func(ref *metadata.ReleaseRef) {
		ref.Rollout = &metadata.Rollout{Start: start, Waves: waves}
		id = ref.SHA256
	})
	return start, id
}

// seedAt returns a seed with a place between two positions.
func seedAt(id metadata.ID, from, to float64) string {
	for n := 0; ; n++ {
		seed := fmt.Sprintf("node-%d", n)
		if p := metadata.Position(seed, id); p >= from && p < to {
			return seed
		}
	}
}

func (r *rig) wantInstall(version string) update.Plan {
	r.t.Helper()
	p, err := r.node().Check(r.t.Context(), "")
	must(r.t, err)
	if !p.Install || p.Version != version || p.Refused != "" {
		r.t.Fatalf("plan %+v", p)
	}
	return p
}

// wantTurn checks what status says of the last check's rollout.
func (r *rig) wantTurn(percent int, opens time.Time, open bool) {
	r.t.Helper()
	st, err := r.node().Status()
	must(r.t, err)
	if turn := st.LastCheck.Turn; turn == nil || turn.Percent != percent || !turn.Opens.Equal(opens) || turn.Open != open {
		r.t.Errorf("status says %+v", turn)
	}
}

// TestWaves lets a node wait for its turn.
func TestWaves(t *testing.T) {
	r := newRig(t)
	begin := r.now
	start, id := r.rollOut("2", metadata.Wave{After: 3600, Percent: 5}, metadata.Wave{After: 7200, Percent: 50}, metadata.Wave{After: 10800, Percent: 80})
	early, late, never := seedAt(id, 0, 0.05), seedAt(id, 0.05, 0.5), seedAt(id, 0.8, 1)
	opens := start.Add(2 * time.Hour)
	for _, c := range []struct {
		seed  string
		after time.Duration
		ok    bool
	}{
		{early, 0, false}, {early, 59 * time.Minute, false}, {early, 61 * time.Minute, true},
		{late, 61 * time.Minute, false}, {late, 121 * time.Minute, true}, {never, 50 * time.Hour, false},
	} {
		r.now, r.policy.Seed = begin.Add(c.after), c.seed
		if c.ok {
			p := r.wantInstall("2")
			if p.Turn == nil || !p.Turn.Open || p.Turn.Opens.After(r.now) {
				t.Errorf("the turn of an open wave: %+v", p.Turn)
			}
			continue
		}
		r.wantRefused(update.ReasonNotYet)
		p, err := r.node().Check(t.Context(), "")
		if p.Install || p.Refused != update.ReasonNotYet || err == nil {
			t.Errorf("plan %+v, %v", p, err)
		}
		if c.seed == late {
			if !strings.Contains(err.Error(), opens.Format(time.RFC3339)) {
				t.Errorf("the refusal does not say when: %v", err)
			}
			r.wantTurn(5, opens, false)
			r.now = begin.Add(2*time.Hour + time.Second)
			r.wantTurn(50, opens, true)
		}
	}
	r.wantTurn(80, time.Time{}, false)

	// By hand it goes at once.
	for _, byHand := range []struct {
		now  bool
		want string
	}{{true, ""}, {false, "2"}} {
		r.policy.Now = byHand.now
		if p, err := r.node().Check(t.Context(), byHand.want); err != nil || !p.Install {
			t.Errorf("%+v: %+v, %v", byHand, p, err)
		}
	}
	r.policy.Now = true
	r.update()
	r.policy.Now = false
	r.wantRefused(update.ReasonRebootPending)
	r.reboot()
	_, err := r.gate(true)
	must(t, err)
	if p := r.update(); p.Install || p.Refused != "" {
		t.Errorf("the release of a closed wave runs: %+v", p)
	}
	// Withdrawn: back to the release before, for everybody at once.
	r.moveChannel("1")
	r.wantInstall("1")
}

// TestStagedWaits pauses the rollout of a release that waits to be armed.
func TestStagedWaits(t *testing.T) {
	r := newRig(t)
	start, _ := r.rollOut("2", metadata.Wave{After: 0, Percent: 100})
	_, err := r.node().Apply(t.Context(), "")
	must(t, err)
	r.setRef(func(ref *metadata.ReleaseRef) { ref.Rollout = ref.Rollout.Pause(start.Add(-1)) })
	r.wantRefused(update.ReasonNotYet)
	_, err = r.node().Activate(t.Context())
	must(t, err) // by hand
}

// TestSteps goes to the channel's release through the one that it wants first.
func TestSteps(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	var step metadata.ReleaseRef
	r.setRef(func(ref *metadata.ReleaseRef) { step = *ref })
	r.publish("3")
	r.setRef(func(ref *metadata.ReleaseRef) { ref.Minimum = "2" })
	r.wantRefused(update.ReasonNoPath)
	if p, err := r.node().Check(t.Context(), "3"); err != nil || !p.Install {
		t.Errorf("by name: %+v, %v", p, err)
	}
	r.editChannel(func(c *metadata.Channel) { c.Steps = map[string][]metadata.ReleaseRef{arch: {step}} })
	if p := r.update(); p.Version != "2" || p.Final != "3" {
		t.Fatalf("plan %+v", p)
	}
	st, err := r.node().Status()
	must(t, err)
	if st.LastCheck.Final != "3" {
		t.Errorf("last check %+v", st.LastCheck)
	}
	r.reboot()
	_, err = r.gate(true)
	must(t, err)
	if p := r.update(); p.Version != "3" || p.Final != "" {
		t.Fatalf("plan after the step: %+v", p)
	}
}

// TestUnknownVersion has a node whose own manifest cannot be read: the channel's
// release is its way to a whole one.
func TestUnknownVersion(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.setRef(func(ref *metadata.ReleaseRef) { ref.Minimum = "1.5" })
	r.wantRefused(update.ReasonNoPath)
	point := t.TempDir()
	r.run("mount", r.loop+"p2", point)
	must(t, os.Remove(filepath.Join(point, metadata.ManifestFile)))
	r.run("umount", point)
	r.wantInstall("2")
}

// TestMaintenanceWindow keeps to the channel's hint where the node says so.
func TestMaintenanceWindow(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	zone := time.FixedZone("", 5*3600)
	opens := r.now.In(zone).Add(2 * time.Hour).Truncate(time.Minute)
	r.editChannel(func(c *metadata.Channel) {
		c.Maintenance = &metadata.Maintenance{Start: opens.Format("15:04"), Duration: 3600}
	})
	r.policy.Local = zone
	if p := r.wantInstall("2"); p.Window == nil || p.Window.Open || p.Window.Followed || !p.Window.Next.Equal(opens) {
		t.Errorf("the window of a node that ignores it: %+v", p.Window)
	}
	r.policy.FollowMaintenance = true
	r.wantRefused(update.ReasonMaintenance)
	if _, err := r.node().Check(t.Context(), "2"); err != nil {
		t.Errorf("by name: %v", err)
	}
	r.policy.Now = true
	r.wantInstall("2")
	r.policy.Now = false
	begin := r.now
	r.now = opens.Add(time.Minute)
	r.wantInstall("2")
	st, err := r.node().Status()
	must(t, err)
	if w := st.LastCheck.Window; w == nil || !w.Open || !w.Followed {
		t.Errorf("status says %+v", w)
	}
	r.now = opens.Add(2 * time.Hour)
	r.wantRefused(update.ReasonMaintenance)
	// A node that does not know the time cannot keep to one.
	r.floor, r.now = begin.Add(-24*time.Hour), time.Unix(0, 0)
	r.wantInstall("2")
}

// TestWrongClock has a node that starts in 1970 every time: the repository's
// signatures tell it that its turn has come.
func TestWrongClock(t *testing.T) {
	r := newRig(t)
	begin := r.now
	r.floor, r.now = begin.AddDate(0, -2, 0), time.Unix(0, 0)
	r.publish("2")
	roll := func(start time.Time) {
		t.Helper()
		r.setRef(func(ref *metadata.ReleaseRef) {
			ref.Rollout = &metadata.Rollout{Start: start.UTC().Truncate(time.Second), Waves: []metadata.Wave{{After: 0, Percent: 100}}}
		})
	}
	roll(begin.Add(time.Hour))
	r.wantRefused(update.ReasonNotYet)
	roll(begin.Add(-time.Hour)) // far from the build time, and signed now
	r.wantInstall("2")
}

// TestSeed makes a seed when it is needed, and keeps it.
func TestSeed(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.state, "rollout-seed")
	position := func() float64 {
		t.Helper()
		p, err := r.node().Check(t.Context(), "")
		if err != nil && reasonOf(err) != update.ReasonNotYet {
			t.Fatal(err)
		}
		return p.Turn.Position
	}
	_, err := r.node().Check(t.Context(), "")
	must(t, err)
	if _, err := os.Stat(path); err == nil {
		t.Error("a seed was made without a rollout")
	}
	_, id := r.rollOut("2", metadata.Wave{After: 0, Percent: 50})
	first := position()
	if second := position(); first != second {
		t.Errorf("the node's place went from %v to %v", first, second)
	}
	seed, err := os.ReadFile(path)
	if err != nil || metadata.Position(strings.TrimSpace(string(seed)), id) != first {
		t.Errorf("kept seed %q, %v", seed, err)
	}
	must(t, os.WriteFile(path, nil, 0o600)) // as after a crash of another program
	if position() == first {
		t.Error("an empty seed is a seed")
	}
	r.policy.Seed = "node-17"
	if position() != metadata.Position("node-17", id) {
		t.Error("the configured seed is not used")
	}
}
