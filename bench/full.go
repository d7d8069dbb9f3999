package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// results are the costs of one peer.
type results struct {
	peer peer
	runs map[setting][]cost
}

func entrants(peers ...peer) (all []results) {
	for _, p := range peers {
		all = append(all, results{p, make(map[setting][]cost)})
	}
	return all
}

func (r results) middle(where setting) cost { return middle(r.runs[where]) }

// full compares full updates: into an empty slot, from nothing.
func (b *bench) full(ctx context.Context) (string, error) {
	if err := b.open(ctx); err != nil {
		return "", err
	}
	held, err := b.arena.node.proveThrottle(ctx)
	if err != nil {
		return "", err
	}
	to := payloadID(2, recommended())
	all := entrants(curlNull, opensslHash, bare, agentPeer, menderPeer, curlPeer, raucPeer, ostreePeer, swupdatePeer)
	for range b.rounds {
		if err := b.arena.round(ctx, all, "", to, fastNode, slowNode); err != nil {
			return "", err
		}
	}
	size := b.arena.payloads[to].size
	unit := all[slices.IndexFunc(all, func(r results) bool { return r.peer.name == bare.name })]
	unitFast, unitSlow := unit.middle(fastNode).wall, unit.middle(slowNode).wall
	var t table
	t.add("", "fast", "× bare", "slow", "× bare", "peak memory", "written / payload", "read / payload", "sent / payload", "requests")
	var notes strings.Builder
	panels := []panel{{title: "fast disk, loopback", unit: "s"}, {title: fmt.Sprintf("disk held to %d MB/s, link to %d MB/s", slowDisk/mb, slowLink/mb), unit: "s"}}
	part := func(n int64) string { return fmt.Sprintf("%.3f", float64(n)/float64(size)) }
	for _, r := range all {
		fast, slow := r.middle(fastNode), r.middle(slowNode)
		fmt.Fprintf(&notes, "- *%s*: %s.\n", r.peer.name, r.peer.about)
		own := r.peer.name == agentPeer.name
		panels[0].bars = append(panels[0].bars, bar{r.peer.name, fast.wall.Seconds(), own})
		panels[1].bars = append(panels[1].bars, bar{r.peer.name, slow.wall.Seconds(), own})
		t.add(r.peer.name, seconds(fast.wall), times(fast.wall, unitFast), seconds(slow.wall), times(slow.wall, unitSlow),
			megabytes(max(fast.memory, slow.memory)), part(fast.written), part(fast.read), part(fast.network), fmt.Sprint(fast.requests))
		if own {
			b.figures.full, b.figures.payload = slow, size
		}
	}
	if err := b.draw("benchmarks-full.svg", plot("A full update, "+megabytes(size), panels...)); err != nil {
		return "", err
	}
	b.figures.serverPerGB = b.arena.serverPerGB()
	return fmt.Sprintf("![A full update](benchmarks-full.svg)\n\n%s\n%s\nThe payload is %s. On the slow node the disk gave: %s.\n",
		t.String(), notes.String(), megabytes(size), held), nil
}

// round runs all peers once, in turn, in each setting.
func (a *arena) round(ctx context.Context, all []results, from, to string, settings ...setting) error {
	for _, where := range settings {
		for _, r := range all {
			c, err := a.run(ctx, r.peer, from, to, where)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s %s->%s %+v: %+v\n", r.peer.name, from, to, where, c)
			r.runs[where] = append(r.runs[where], c)
		}
	}
	return nil
}

// draw writes a picture beside benchmarks.md.
func (b *bench) draw(name, svg string) error {
	if b.docs == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(b.docs, name), []byte(svg), 0o644)
}
