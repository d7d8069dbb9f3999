package main

import (
	"fmt"
	"time"
)

// releaseDay calculates, from what was measured, what a release to a large fleet
// asks of a server.
func (b *bench) releaseDay(quiet checks) string {
	const nodes, every = 1_000_000, 6 * time.Hour
	rate := nodes / every.Seconds()
	load := rate * (quiet.server / fleetSize).Seconds()
	text := fmt.Sprintf("A million nodes that check every 6 hours are %.0f checks a second: %.1f %% of one core, and %.1f Mbit/s.\n",
		rate, load*100, rate*float64(quiet.moved)/fleetSize*8/1e6)
	if b.figures.delta.network == 0 {
		return text // the section that measures it did not run
	}
	perByte := b.figures.serverPerGB.Seconds() / 1e9
	var t table
	t.add("wave", "nodes", "nodes a second", "with deltas", "server", "without", "server")
	for _, wave := range []struct {
		name string
		part float64
	}{{"1 %", 0.01}, {"10 % after a day", 0.09}, {"50 % after two", 0.4}, {"100 % after three", 0.5}} {
		each := wave.part * rate
		row := []string{wave.name, fmt.Sprintf("%.0f", wave.part*nodes), fmt.Sprintf("%.1f", each)}
		for _, bytes := range []int64{b.figures.delta.network, b.figures.payload} {
			sent := each * float64(bytes)
			row = append(row, fmt.Sprintf("%.2f Gbit/s", sent*8/1e9), fmt.Sprintf("%.2f cores", sent*perByte))
		}
		t.add(row...)
	}
	total := func(bytes int64) float64 { return float64(bytes) * nodes / 1e12 }
	return text + fmt.Sprintf("\nOn paper, a release to them in waves, each spread over the 6 hours in which its nodes check, with %s a node as a delta "+
		"or %s in full, and %.2f s of a core for each GB sent (measured, HTTP):\n\n%s\nIn all %.1f TB instead of %.0f TB.\n",
		megabytes(b.figures.delta.network), megabytes(b.figures.payload), b.figures.serverPerGB.Seconds(), t.String(),
		total(b.figures.delta.network), total(b.figures.payload))
}
