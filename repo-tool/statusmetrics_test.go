package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"tufboot/metadata/repository"
)

// TestMetrics lets Prometheus' own parser and rules for names look at the
// metrics, with a role's name that somebody meant to break them with.
func TestMetrics(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	status := &repository.Status{
		Roles: []repository.RoleStatus{
			{Role: repository.Root, Version: 3, State: repository.StateOK, Expires: now, Due: now, Threshold: 2, Keys: make([]repository.KeyStatus, 3)},
			{Role: "a\"b\\c\nd\xff{}", Version: 1, State: repository.StateExpired},
		},
		Channels: []repository.ChannelStatus{{Channel: "stable", Releases: []repository.PointerStatus{{Arch: "amd64", Version: "1.0", Percent: 5}}}},
	}
	for name, s := range map[string]*repository.Status{"a repository": status, "none": nil} {
		var out bytes.Buffer
		writeMetrics(&out, s, now)
		text := out.String()
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: %v %v\n%s", name, err, problems, text)
		}
		want := []string{
			`tufboot_repository_readable 1`,
			`tufboot_repository_role_expires_timestamp_seconds{role="root"} 1767225600`,
			`tufboot_repository_role_version{role="a\"b\\c\nd` + "\uFFFD" + `{}"} 1`,
			`tufboot_repository_role_state{role="root",state="expired"} 0`,
			`tufboot_repository_channel_nodes_ratio{channel="stable",arch="amd64"} 0.05`,
		}
		if s == nil {
			want = []string{`tufboot_repository_readable 0`}
		}
		for _, line := range want {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("%s: no line %s in\n%s", name, line, text)
			}
		}
	}
}
