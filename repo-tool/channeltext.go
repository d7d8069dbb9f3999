package main

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/repository"
)

// channelText says what a command did to a channel.
func channelText(w io.Writer, r *repository.ChannelChange) {
	if !r.Changed {
		fmt.Fprintf(w, "nothing to do: channel %s is like that already\n", r.Channel)
		return
	}
	name := "channel " + r.Channel
	if r.New {
		name = "new " + name
	}
	for _, p := range r.Pointers {
		said := pointerText(r, p)
		taken := withdrawnNow(r, p)
		if said == "" && taken == nil {
			continue
		}
		if said != "" {
			fmt.Fprintf(w, "%s (%s): %s\n", name, p.Arch, said)
		}
		for _, version := range taken {
			fmt.Fprintf(w, "%s (%s): %s is withdrawn, and not gone back to\n", name, p.Arch, version)
		}
		if p.To != "" {
			rolloutText(w, &r.Now, p.Arch, r.At)
		}
		deltaText(w, p.Deltas)
	}
	switch {
	case reflect.DeepEqual(r.Was.Maintenance, r.Now.Maintenance):
	case r.Now.Maintenance == nil:
		fmt.Fprintf(w, "%s: the maintenance hint is removed\n", name)
	default:
		fmt.Fprintf(w, "%s: maintenance %s\n", name, maintenanceText(r.Now.Maintenance))
	}
}

// pointerText says how a channel's pointer has changed, or nothing if it is what
// it was.
func pointerText(r *repository.ChannelChange, p repository.ArchPointer) string {
	before, after := r.Was.Releases[p.Arch].Rollout, r.Now.Releases[p.Arch].Rollout
	switch {
	case p.To == "" && p.From == "":
		return ""
	case p.To == "":
		return p.From + " is taken back; it points to nothing"
	case p.From == "":
		return "points to " + p.To
	case p.From != p.To:
		return p.To + ", was " + p.From
	case !reflect.DeepEqual(r.Was.Steps[p.Arch], r.Now.Steps[p.Arch]):
		return "points to " + p.To + " as before, by other steps"
	case reflect.DeepEqual(before, after):
		return ""
	case after == nil:
		return "the rollout of " + p.To + " is finished: all nodes may have it"
	case before != nil && before.Start.Equal(after.Start):
		return "the rollout of " + p.To + " is paused"
	}
	return "the rollout of " + p.To + " starts anew"
}

// withdrawnNow returns the earlier releases that were taken back, other than what
// the channel pointed to.
func withdrawnNow(r *repository.ChannelChange, p repository.ArchPointer) []string {
	var versions []string
	for _, past := range r.Now.Previous[p.Arch] {
		was := slices.ContainsFunc(r.Was.Previous[p.Arch], func(q metadata.PastRef) bool { return q.SHA256 == past.SHA256 && q.Withdrawn })
		if past.Withdrawn && !was && past.Version != p.From {
			versions = append(versions, past.Version)
		}
	}
	return versions
}

// showChannel shows a channel as it is.
func showChannel(w io.Writer, channel *metadata.Channel, now time.Time) {
	fmt.Fprintf(w, "channel %s\n", channel.Name)
	architectures := slices.AppendSeq(slices.Collect(maps.Keys(channel.Releases)), maps.Keys(channel.Previous))
	slices.Sort(architectures)
	for _, arch := range slices.Compact(architectures) {
		if ref, ok := channel.Releases[arch]; ok {
			fmt.Fprintf(w, "%s: %s  %s  %d%% of the nodes\n", arch, ref.Version, ref.SHA256.Short(), ref.Rollout.Percent(now))
			rolloutText(w, channel, arch, now)
		} else {
			fmt.Fprintf(w, "%s: points to nothing: nodes keep what they run\n", arch)
		}
		for _, past := range channel.Previous[arch] {
			withdrawn := ""
			if past.Withdrawn {
				withdrawn = "  withdrawn"
			}
			fmt.Fprintf(w, "  before: %s  until %s%s\n", past.Version, past.Until.Format(time.RFC3339), withdrawn)
		}
	}
	if m := channel.Maintenance; m != nil {
		fmt.Fprintf(w, "maintenance: %s\n", maintenanceText(m))
	}
}

// rolloutText shows what keeps nodes from a channel's release.
func rolloutText(w io.Writer, channel *metadata.Channel, arch string, now time.Time) {
	ref := channel.Releases[arch]
	if ref.Minimum != "" {
		fmt.Fprintf(w, "  nodes below %s go through:", ref.Minimum)
		for _, step := range channel.Steps[arch] {
			fmt.Fprintf(w, " %s", step.Version)
		}
		fmt.Fprintln(w)
	}
	if ref.Rollout == nil {
		return
	}
	var waves []string
	for _, wave := range ref.Rollout.Waves {
		waves = append(waves, fmt.Sprintf("%d%% after %s", wave.Percent, durationText(time.Duration(wave.After)*time.Second)))
	}
	if waves == nil {
		waves = []string{"nobody"}
	}
	fmt.Fprintf(w, "  rollout from %s: %s\n", ref.Rollout.Start.Format(time.RFC3339), strings.Join(waves, ", "))
	stopText(w, ref.Rollout, now)
}

// stopText says of a rollout that does not reach all nodes by itself where it
// stops.
func stopText(w io.Writer, r *metadata.Rollout, now time.Time) {
	last := 0
	if n := len(r.Waves); n > 0 {
		last = r.Waves[n-1].Percent
	}
	switch {
	case last == 100:
		return
	case r.Percent(now) == last:
		fmt.Fprintf(w, "  paused at %d%% of the nodes", last)
	default:
		fmt.Fprintf(w, "  pauses at %d%% of the nodes", last)
	}
	fmt.Fprintln(w, ", until channel rollout --finish or --waves")
}

// durationText is d without the parts that are zero: 24h, and not 24h0m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
