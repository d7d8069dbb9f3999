package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zone is there on every machine
)

// monday is 2 March 2026, at noon.
var monday = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func refTo(version, minimum string) ReleaseRef {
	return ReleaseRef{Version: version, Minimum: minimum, Target: "releases/" + version + "/amd64/release.json", SHA256: ID(sum)}
}

// policyChannel uses every field that a channel file may have.
func policyChannel() *Channel {
	current := refTo("5", "4")
	current.Rollout = &Rollout{Start: monday, Waves: []Wave{{0, 1}, {3600, 25}, {7200, 90}}}
	return &Channel{
		Schema: 1, Name: "stable",
		Releases:    map[string]ReleaseRef{"amd64": current},
		Steps:       map[string][]ReleaseRef{"amd64": {refTo("2", ""), refTo("4", "2")}},
		Maintenance: &Maintenance{Days: []string{"sat", "sun"}, Start: "22:30", Duration: 4 * 3600},
		Previous: map[string][]PastRef{"amd64": {
			{Version: "4.9", Target: "a/b", SHA256: ID(sum), Until: monday, Withdrawn: true},
			{Version: "4", Target: "a/b", SHA256: ID(sum), Minimum: "2", Until: monday},
		}},
	}
}

func TestChannelPolicyRoundTrip(t *testing.T) {
	want := policyChannel()
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseChannel(data)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%s comes back as %+v, %v", data, got, err)
	}
	again, err := got.Encode()
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("the encoding is not stable: %v\n%s", err, again)
	}
}

// TestChannelWithoutPolicy keeps the bytes of channel files that use none of it.
func TestChannelWithoutPolicy(t *testing.T) {
	const want = `{
  "schema": 1,
  "name": "stable",
  "releases": {
    "amd64": {
      "version": "1.0.0",
      "target": "releases/1.0.0/amd64/release.json",
      "sha256": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    }
  }
}
`
	got, err := validChannel().Encode()
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestChannelPolicyRefused(t *testing.T) {
	set := func(change func(*ReleaseRef)) func(*Channel) {
		return func(c *Channel) {
			ref := c.Releases["amd64"]
			change(&ref)
			c.Releases["amd64"] = ref
		}
	}
	rollout := func(change func(*Rollout)) func(*Channel) {
		return set(func(r *ReleaseRef) { change(r.Rollout) })
	}
	waves := func(waves ...Wave) func(*Channel) { return rollout(func(r *Rollout) { r.Waves = waves }) }
	steps := func(steps ...ReleaseRef) func(*Channel) {
		return func(c *Channel) { c.Steps["amd64"] = steps }
	}
	window := func(change func(*Maintenance)) func(*Channel) {
		return func(c *Channel) { change(c.Maintenance) }
	}
	past := func(change func(*PastRef)) func(*Channel) {
		return func(c *Channel) { change(&c.Previous["amd64"][1]) }
	}
	many := make([]ReleaseRef, MaxSteps+1)
	for i := range many {
		many[i] = refTo(fmt.Sprintf("0.%d", i), "")
	}
	for name, spoil := range map[string]func(*Channel){
		"minimum is no version":      set(func(r *ReleaseRef) { r.Minimum = ".." }),
		"minimum above the release":  set(func(r *ReleaseRef) { r.Minimum = "5.1" }),
		"no start":                   rollout(func(r *Rollout) { r.Start = time.Time{} }),
		"start in no year":           rollout(func(r *Rollout) { r.Start = monday.AddDate(2000, 0, 0) }),
		"start not in UTC":           rollout(func(r *Rollout) { r.Start = monday.In(time.FixedZone("", 3600)) }),
		"start in half a second":     rollout(func(r *Rollout) { r.Start = monday.Add(time.Second / 2) }),
		"no list of waves":           rollout(func(r *Rollout) { r.Waves = nil }),
		"too many waves":             rollout(func(r *Rollout) { r.Waves = make([]Wave, MaxWaves+1) }),
		"wave before the start":      waves(Wave{-1, 5}),
		"wave of nobody":             waves(Wave{0, 0}),
		"wave of too many":           waves(Wave{0, 101}),
		"wave after a year":          waves(Wave{maxAfter + 1, 5}),
		"two waves at once":          waves(Wave{5, 5}, Wave{5, 6}),
		"wave that takes back":       waves(Wave{5, 5}, Wave{6, 4}),
		"wave with nobody new":       waves(Wave{5, 5}, Wave{6, 5}),
		"steps of no release":        func(c *Channel) { c.Steps["arm64"] = c.Steps["amd64"] },
		"too many steps":             steps(many...),
		"step to nowhere":            steps(ReleaseRef{Version: "4", Target: "..", SHA256: ID(sum)}),
		"steps in disorder":          steps(refTo("4", ""), refTo("2", "")),
		"the same step twice":        steps(refTo("4", ""), refTo("4.", ""), refTo("4_", "")),
		"step that is the release":   steps(refTo("5", "")),
		"step above the release":     steps(refTo("6", "")),
		"days in full":               window(func(m *Maintenance) { m.Days = []string{"Sunday"} }),
		"a day twice":                window(func(m *Maintenance) { m.Days = []string{"sun", "sun"} }),
		"no time":                    window(func(m *Maintenance) { m.Start = "" }),
		"24 o'clock":                 window(func(m *Maintenance) { m.Start = "24:00" }),
		"one way to write a time":    window(func(m *Maintenance) { m.Start = "2:00" }),
		"no duration":                window(func(m *Maintenance) { m.Duration = 0 }),
		"longer than a day":          window(func(m *Maintenance) { m.Duration = maxDuration + 1 }),
		"previous architecture":      func(c *Channel) { c.Previous["a/b"] = nil },
		"too much history":           func(c *Channel) { c.Previous["amd64"] = make([]PastRef, MaxPrevious+1) },
		"previous version":           past(func(p *PastRef) { p.Version = "" }),
		"previous target":            past(func(p *PastRef) { p.Target = "/etc" }),
		"previous identity":          past(func(p *PastRef) { p.SHA256 = "1" }),
		"previous minimum":           past(func(p *PastRef) { p.Minimum = "4.1" }),
		"previous at no time at all": past(func(p *PastRef) { p.Until = time.Time{} }),
	} {
		c := policyChannel()
		spoil(c)
		if _, err := c.Encode(); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{`"2026-03-02T12:00:00+00:00"`, `"2026-03-02"`, `"2026-03-02T12:00:00.5Z"`, `1`} {
		data, err := policyChannel().Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseChannel(bytes.Replace(data, []byte(`"2026-03-02T12:00:00Z"`), []byte(text), 1)); !errors.Is(err, ErrFormat) {
			t.Errorf("time %s: %v", text, err)
		}
	}
}

func TestChoose(t *testing.T) {
	c := policyChannel()
	for booted, want := range map[string]string{
		"": "5", "5": "5", "4": "5", "4.1": "5", "9": "5", // above it: withdrawn, and followed
		"3": "4", "2": "4", "2.9": "4", "1": "2", "4~rc1": "4", "0": "2",
	} {
		got, err := c.Choose("amd64", booted)
		if err != nil || got.Version != want {
			t.Errorf("from %q: %q, %v; want %q", booted, got.Version, err, want)
		}
	}
	if _, err := c.Choose("arm64", "1"); !errors.Is(err, ErrNoRelease) {
		t.Errorf("no such architecture: %v", err)
	}
	c.Steps["amd64"] = c.Steps["amd64"][1:]
	if _, err := c.Choose("amd64", "1"); !errors.Is(err, ErrNoPath) || !strings.Contains(err.Error(), "from 1") {
		t.Errorf("no step for the lowest: %v", err)
	}
	c.Steps = nil
	if _, err := c.Choose("amd64", "3"); !errors.Is(err, ErrNoPath) {
		t.Errorf("no steps: %v", err)
	}
}

// checkPath walks from a version as a node would, and wants every step to lead
// upwards, to the channel's release or to a dead end.
func checkPath(t *testing.T, c *Channel, arch, booted string) {
	t.Helper()
	for range MaxSteps + 2 {
		ref, err := c.Choose(arch, booted)
		if errors.Is(err, ErrNoPath) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if ref.SHA256 == c.Releases[arch].SHA256 && ref.Version == c.Releases[arch].Version {
			return
		}
		if CompareVersions(ref.Version, booted) <= 0 {
			t.Fatalf("from %q down to step %q", booted, ref.Version)
		}
		booted = ref.Version
	}
	t.Fatalf("no end of steps to %q", c.Releases[arch].Version)
}

func TestEveryPathEnds(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	number := func() string { return fmt.Sprint(r.IntN(12)) }
	for range 20_000 {
		c := policyChannel()
		c.Releases["amd64"] = refTo(number(), number())
		c.Steps["amd64"] = nil
		for range r.IntN(5) {
			c.Steps["amd64"] = append(c.Steps["amd64"], refTo(number(), number()))
		}
		slices.SortFunc(c.Steps["amd64"], func(a, b ReleaseRef) int { return CompareVersions(a.Version, b.Version) })
		if c.validate() == nil {
			checkPath(t, c, "amd64", number())
		}
	}
}

func TestRollout(t *testing.T) {
	r := policyChannel().Releases["amd64"].Rollout
	for after, want := range map[time.Duration]int{
		-time.Second: 0, 0: 1, time.Hour - 1: 1, time.Hour: 25, 2 * time.Hour: 90, 1000 * time.Hour: 90,
	} {
		if got := r.Percent(monday.Add(after)); got != want {
			t.Errorf("%v after the start: %d percent, want %d", after, got, want)
		}
	}
	for position, want := range map[float64]time.Duration{0: 0, 0.00999: 0, 0.01: time.Hour, 0.2499: time.Hour, 0.25: 2 * time.Hour, 0.89: 2 * time.Hour} {
		if got, ok := r.Opens(position); !ok || !got.Equal(monday.Add(want)) {
			t.Errorf("position %v: %v, %v", position, got, ok)
		}
	}
	if at, ok := r.Opens(0.9); ok {
		t.Errorf("a node that no wave reaches may update at %v", at)
	}
	var none *Rollout
	if at, ok := none.Opens(0.99); !ok || !at.IsZero() || none.Percent(monday) != 100 || none.Pause(monday) != nil {
		t.Error("no rollout is not everybody at once")
	}
	if paused := r.Pause(monday.Add(time.Hour)); paused.Percent(monday.AddDate(1, 0, 0)) != 25 || len(r.Waves) != 3 {
		t.Errorf("paused at 25 percent: %+v, was %+v", paused, r)
	}
	if paused := r.Pause(monday.Add(-1)); paused.validate() != nil || paused.Percent(monday.AddDate(1, 0, 0)) != 0 {
		t.Errorf("paused before the start: %+v", paused)
	}
}

// TestPositions wants a wave to take as many nodes as it says, others each time.
func TestPositions(t *testing.T) {
	const nodes = 10_000
	releases := []ID{ID(sum), ID(strings.Repeat("ab", 32)), ID(strings.Repeat("cd", 32))}
	early := make(map[ID]map[string]bool)
	for _, id := range releases {
		early[id] = make(map[string]bool)
		total := 0.0
		for n := range nodes {
			seed := fmt.Sprintf("node-%d", n)
			p := Position(seed, id)
			if p < 0 || p >= 1 || p != Position(seed, id) {
				t.Fatalf("position %v", p)
			}
			total += p
			if p < 0.05 {
				early[id][seed] = true
			}
		}
		if share := float64(len(early[id])) / nodes; math.Abs(share-0.05) > 0.01 {
			t.Errorf("release %s: a wave of 5 percent takes %.1f percent", id.Short(), share*100)
		}
		if mean := total / nodes; math.Abs(mean-0.5) > 0.01 {
			t.Errorf("release %s: the mean position is %v", id.Short(), mean)
		}
	}
	both := 0
	for seed := range early[releases[0]] {
		if early[releases[1]][seed] {
			both++
		}
	}
	if both > nodes/200 {
		t.Errorf("%d of %d early nodes are early in the next rollout too", both, len(early[releases[0]]))
	}
	if Position("a", "bc") == Position("ab", "c") {
		t.Error("seed and identity run into each other")
	}
}

// TestPositionIsStable keeps the place of every node that is out there.
func TestPositionIsStable(t *testing.T) {
	if got := fmt.Sprintf("%.6f", Position("node-17", ID(sum))); got != "0.467611" {
		t.Errorf("position %s", got)
	}
}

func TestMaintenance(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		t.Helper()
		v, err := time.ParseInLocation("2006-01-02 15:04", s, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	weekend := &Maintenance{Days: []string{"sat", "sun"}, Start: "22:30", Duration: 4 * 3600}
	for _, c := range []struct {
		m    *Maintenance
		now  string
		open bool
		next string
	}{
		{weekend, "2026-03-06 23:00", false, "2026-03-07 22:30"}, // a Friday
		{weekend, "2026-03-07 22:29", false, "2026-03-07 22:30"},
		{weekend, "2026-03-07 22:30", true, "2026-03-08 22:30"},
		{weekend, "2026-03-08 02:29", true, "2026-03-08 22:30"},
		{weekend, "2026-03-08 02:30", false, "2026-03-08 22:30"},
		{weekend, "2026-03-09 02:00", true, "2026-03-14 22:30"}, // Monday: Sunday's window
		{weekend, "2026-03-10 02:00", false, "2026-03-14 22:30"},
		{&Maintenance{Start: "22:30", Duration: 3600, UTC: true}, "2026-03-10 23:45", true, "2026-03-11 23:30"},
		{&Maintenance{Start: "00:00", Duration: maxDuration}, "2026-03-10 23:59", true, "2026-03-11 00:00"},
		{&Maintenance{Days: []string{"tue"}, Start: "12:00", Duration: 60}, "2026-03-10 12:00", true, "2026-03-17 12:00"},
		// 02:30 is left out on 29 March, and comes twice on 25 October.
		{&Maintenance{Start: "02:30", Duration: 1800}, "2026-03-29 03:45", true, "2026-03-30 02:30"},
	} {
		if err := c.m.validate(); err != nil {
			t.Fatal(err)
		}
		if got := c.m.Open(at(c.now), berlin); got != c.open {
			t.Errorf("%+v at %s: open is %v", c.m, c.now, got)
		}
		if got := c.m.Next(at(c.now).UTC(), berlin); !got.Equal(at(c.next)) {
			t.Errorf("%+v at %s: next at %s, want %s", c.m, c.now, got.In(berlin), c.next)
		}
	}
	var always *Maintenance
	if !always.Open(monday, time.UTC) || !always.Next(monday, time.UTC).IsZero() {
		t.Error("no hint is not at any time")
	}
}
