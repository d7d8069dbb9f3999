package main

import (
	"context"
	"fmt"
	"strings"
)

// delta compares updates of a node that runs the release before.
func (b *bench) delta(ctx context.Context) (string, error) {
	if err := b.open(ctx); err != nil {
		return "", err
	}
	whole := entrants(agentPeer)
	var out, notes strings.Builder
	var panels []panel
	for step, title := range []string{
		fmt.Sprintf("about 5 %% changed (%.1f %% of the archive's bytes)", b.releases[1].changed*100),
		fmt.Sprintf("a large change (%.0f %%, the kernel too)", b.releases[2].changed*100),
	} {
		from, to := payloadID(step+1, recommended()), payloadID(step+2, recommended())
		all := entrants(agentPeer, casyncPeer, desyncPeer, zchunkPeer)
		for range b.rounds {
			if step == 0 {
				if err := b.arena.round(ctx, whole, "", to, fastNode, linkOnly, slowNode); err != nil {
					return "", err
				}
			}
		}
		for range b.rounds {
			if err := b.arena.round(ctx, all, from, to, linkOnly, slowNode); err != nil {
				return "", err
			}
		}
		rows := all
		if step == 0 {
			reference := whole[0]
			reference.peer.name = "agent, in full"
			rows = append(rows, reference)
		}
		size := b.arena.payloads[to].size
		fmt.Fprintf(&out, "\nRelease %d to %d: %s, %s in full.\n\n%s", step+1, step+2, title, megabytes(size), deltaTable(rows, whole[0], size))
		name := fmt.Sprintf("release %d to %d: ", step+1, step+2)
		sent, took := panel{title: name + "sent", unit: "MB"}, panel{title: name + fmt.Sprintf("link of %d MB/s", slowLink/mb), unit: "s"}
		for _, r := range all {
			own := r.peer.name == agentPeer.name
			sent.bars = append(sent.bars, bar{r.peer.name, float64(r.middle(linkOnly).network) / mb, own})
			took.bars = append(took.bars, bar{r.peer.name, r.middle(linkOnly).wall.Seconds(), own})
		}
		panels = append(panels, sent, took)
		if step == 0 {
			b.figures.delta = all[0].middle(slowNode)
			b.figures.full, b.figures.payload = whole[0].middle(slowNode), size
		}
	}
	for _, p := range []peer{agentPeer, casyncPeer, desyncPeer, zchunkPeer} {
		fmt.Fprintf(&notes, "- *%s*: %s.\n", p.name, p.about)
	}
	b.figures.serverPerGB = b.arena.serverPerGB()
	if err := b.draw("benchmarks-delta.svg", plot("A delta update", panels...)); err != nil {
		return "", err
	}
	return "![A delta update](benchmarks-delta.svg)\n" + out.String() + "\n" + notes.String(), nil
}

// deltaTable compares with whole, a full update, and its size.
func deltaTable(rows []results, whole results, size int64) string {
	var t table
	t.add("", "sent", "of a full update", "requests", "ranges", "peak memory", "slow link", "÷ full update", "slow link and disk", "÷ full update", "written / payload")
	for _, r := range rows {
		link, slow := r.middle(linkOnly), r.middle(slowNode)
		t.add(r.peer.name, megabytes(slow.network), fmt.Sprintf("%.1f %%", float64(slow.network)/float64(size)*100), fmt.Sprint(slow.requests), fmt.Sprint(slow.ranges),
			megabytes(max(link.memory, slow.memory)), seconds(link.wall), times(link.wall, whole.middle(linkOnly).wall),
			seconds(slow.wall), times(slow.wall, whole.middle(slowNode).wall), fmt.Sprintf("%.3f", float64(slow.written)/float64(size)))
	}
	return t.String()
}

// packing compares how the initramfs is compressed: what it weighs, and what
// the agent fetches of it.
func (b *bench) packing(ctx context.Context) (string, error) {
	if err := b.open(ctx); err != nil {
		return "", err
	}
	var t table
	t.add("initramfs", "in full, with the kernel", "release 1 to 2", "requests", "release 2 to 3", "requests", "peak memory")
	for i, p := range packings {
		row := []string{p.name, megabytes(b.arena.payloads[payloadID(2, i)].size)}
		var memory int64
		for step := 1; step <= 2; step++ {
			to := payloadID(step+1, i)
			c, err := b.arena.run(ctx, agentPeer, payloadID(step, i), to, fastNode)
			if err != nil {
				return "", err
			}
			part := float64(c.network) / float64(b.arena.payloads[to].size) * 100
			row = append(row, fmt.Sprintf("%s (%.1f %%)", megabytes(c.network), part), fmt.Sprint(c.requests))
			memory = max(memory, c.memory)
		}
		t.add(append(row, megabytes(memory))...)
	}
	return t.String(), nil
}
