package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"tufboot/metadata/repository"
)

// metric is a gauge with its samples, in the text format of Prometheus
// (prometheus.io/docs/instrumenting/exposition_formats). Names follow
// prometheus.io/docs/practices/naming: base units, the unit at the end.
type metric struct {
	name, help string
	samples    []sample
}

type sample struct {
	labels []label
	value  float64
}

type label struct{ name, value string }

func (m *metric) add(value float64, labels ...label) {
	m.samples = append(m.samples, sample{labels, value})
}

// writeMetrics prints the status; nil where the repository cannot be read.
func writeMetrics(w io.Writer, s *repository.Status, now time.Time) {
	readable := &metric{name: "tufboot_repository_readable", help: "Whether the repository could be read, and its signatures are right."}
	checked := &metric{name: "tufboot_repository_checked_timestamp_seconds", help: "When the repository was looked at."}
	checked.add(unix(now))
	metrics := []*metric{readable, checked}
	if s == nil {
		readable.add(0)
	} else {
		readable.add(1)
		metrics = append(metrics, roleMetrics(s)...)
		metrics = append(metrics, otherMetrics(s)...)
	}
	for _, m := range metrics {
		m.write(w)
	}
}

func roleMetrics(s *repository.Status) []*metric {
	version := &metric{name: "tufboot_repository_role_version", help: "The version of a role's metadata."}
	expires := &metric{name: "tufboot_repository_role_expires_timestamp_seconds", help: "When a role's metadata expires; of one with hash bins, the first of them."}
	due := &metric{name: "tufboot_repository_role_due_timestamp_seconds", help: "From when refresh signs a role's metadata again."}
	state := &metric{name: "tufboot_repository_role_state", help: "1 for the state that a role is in: ok, due or expired."}
	keys := &metric{name: "tufboot_repository_role_keys", help: "The number of keys of a role."}
	threshold := &metric{name: "tufboot_repository_role_threshold_keys", help: "How many of a role's keys have to sign."}
	for _, role := range s.Roles {
		is := label{"role", role.Role}
		version.add(float64(role.Version), is)
		expires.add(unix(role.Expires), is)
		due.add(unix(role.Due), is)
		for _, name := range []string{repository.StateOK, repository.StateDue, repository.StateExpired} {
			value := 0.0
			if role.State == name {
				value = 1
			}
			state.add(value, is, label{"state", name})
		}
		keys.add(float64(len(role.Keys)), is)
		threshold.add(float64(role.Threshold), is)
	}
	return []*metric{version, expires, due, state, keys, threshold}
}

func otherMetrics(s *repository.Status) []*metric {
	roots := &metric{name: "tufboot_repository_roots", help: "The number of versions of root.json, which a node with the first one walks."}
	roots.add(float64(s.Roots))
	warnings := &metric{name: "tufboot_repository_warnings", help: "The number of warnings that status shows."}
	warnings.add(float64(len(s.Warnings)))
	older := &metric{name: "tufboot_repository_older", help: "1 if a newer state than this was published before, so that nodes refuse it."}
	if older.add(0); s.Older != nil {
		older.samples[0].value = 1
	}
	release := &metric{name: "tufboot_repository_channel_release_info", help: "The release that a channel points to."}
	nodes := &metric{name: "tufboot_repository_channel_nodes_ratio", help: "The part of a channel's nodes that may have its release by now."}
	for _, c := range s.Channels {
		for _, p := range c.Releases {
			is := []label{{"channel", c.Channel}, {"arch", p.Arch}}
			nodes.add(float64(p.Percent)/100, is...)
			release.add(1, append(is, label{"version", p.Version}, label{"id", string(p.ID)})...)
		}
	}
	return []*metric{roots, warnings, older, release, nodes}
}

func unix(t time.Time) float64 { return float64(t.Unix()) }

func (m *metric) write(w io.Writer) {
	if len(m.samples) == 0 {
		return
	}
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %[1]s gauge\n", m.name, m.help)
	for _, s := range m.samples {
		labels := make([]string, len(s.labels))
		for i, l := range s.labels {
			labels[i] = l.name + `="` + escapeLabel(l.value) + `"`
		}
		set := ""
		if len(labels) > 0 {
			set = "{" + strings.Join(labels, ",") + "}"
		}
		fmt.Fprintf(w, "%s%s %s\n", m.name, set, strconv.FormatFloat(s.value, 'f', -1, 64))
	}
}

// escapeLabel escapes a label's value. The names of roles come from a repository
// that anybody may have made.
func escapeLabel(value string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(value, "\uFFFD"))
}
