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
