package main

import (
	"testing"
	"time"

	"tufboot/agent/update"
	"tufboot/metadata"
)

// TestPlanText wants an operator to read when this node's turn is, on the way to
// what, and whether a window is waited for.
func TestPlanText(t *testing.T) {
	at := time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC)
	for want, p := range map[string]update.Plan{
		"": {},
		"\na step on the way to release 5\nrollout: 25 percent of the nodes; this node's turn: 2026-03-02T02:00:00Z": {
			Final: "5", Turn: &update.Turn{Percent: 25, Opens: at},
		},
		"\nrollout: 0 percent of the nodes; no wave reaches this one yet": {Turn: &update.Turn{}},
		"\nmaintenance window: closed, opens 2026-03-02T02:00:00Z (not followed by this node)": {
			Window: &update.Window{Maintenance: &metadata.Maintenance{}, Next: at},
		},
		"\nmaintenance window: open": {
			Window: &update.Window{Maintenance: &metadata.Maintenance{}, Next: at, Followed: true, Open: true},
		},
	} {
		if got := planText(p); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}

// TestPlannedText says what an update would do, also with a slot that is damaged, or
// holds the release already.
func TestPlannedText(t *testing.T) {
	p := update.Plan{Version: "2", Release: "0123456789abcdef", Slot: "B", Size: 7}
	for want, change := range map[string]func(p *update.Plan){
		"up to date: release 2 (0123456789ab) is running":                                                                                         func(*update.Plan) {},
		"release 2 (0123456789ab, 7 bytes) is available; an update would write it into slot B":                                                    func(p *update.Plan) { p.Install = true },
		"release 2 (0123456789ab) is in slot B already; an update would verify it there and arm it":                                               func(p *update.Plan) { p.Install, p.Held = true, true },
		"release 2 (0123456789ab, 7 bytes) is available; an update would write it into slot B\nthe file system of slot B would be made anew: bad": func(p *update.Plan) { p.Install, p.Remade = true, "bad" },
		"up to date: release 2 (0123456789ab) is running\nfirst, an update would repair the environment block":                                    func(p *update.Plan) { p.Mends = []string{"repair the environment block"} },
	} {
		q := p
		change(&q)
		if got := plannedText(q); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
