package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
)

func TestParseConfig(t *testing.T) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := parseConfig(full)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Server != "https://updates.example.com/edge" || cfg.Health.Deadline != 15*time.Minute ||
		cfg.Labels.SystemB != "ROOT-B" || cfg.Health.Containerd.Enabled || len(cfg.Reboot.Command) != 2 ||
		cfg.RolloutSeed != "edge-17" || cfg.Maintenance != "follow" || cfg.Delta ||
		cfg.Watchdog != (watchdogConfig{"/dev/watchdog0", 30 * time.Second, 35 * time.Minute}) || cfg.BandwidthLimit != "10MB/s" || cfg.Priority != priorityNormal {
		t.Errorf("parsed as %+v", cfg)
	}
	if !defaultSettings().Delta || !cfg.Health.APIServer.Enabled || cfg.Health.DropIn.Dir != "/etc/tufboot/health" {
		t.Errorf("what the file leaves out is not the default: %+v", cfg.Health)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"maintenance":       {"maintenance: maybe\n", "maintenance"},
		"priority":          {"priority: high\n", "priority"},
		"bandwidth limit":   {"bandwidth_limit: 10\n", "bandwidth limit"},
		"misspelt key":      {"sever: http://x\n", "sever"},
		"misspelt check":    {"health: {containrd: {enabled: false}}\n", "containrd"},
		"wrong type":        {"server: [1, 2]\n", "string"},
		"negative duration": {"health: {deadline: -1s}\n", "health.deadline"},
		"not a duration":    {"health: {interval: soon}\n", "soon"},
		"short watchdog":    {"watchdog: {timeout: 1s}\n", "watchdog.timeout"},
		"negative limit":    {"watchdog: {limit: -1s}\n", "watchdog.limit"},
		"no unit":           {"health: {timeout: 15}\n", "health.timeout"},
		"key twice":         {"server: http://x\nserver: http://y\n", "server"},
		"not YAML":          {"{{{", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one about %q", err, tt.want)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte("server: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := parseConfig(data)
		if err == nil && cfg.Health.Timeout <= 0 {
			t.Errorf("accepted a timeout of %v", cfg.Health.Timeout)
		}
	})
}

// TestChannelIsChecked: a channel's name that cannot be is a mistake in the
// configuration. Only what asks the repository minds it.
func TestChannelIsChecked(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(root, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for channel, want := range map[string]int{"stable": 0, "": console.ExitUsage, "../x": console.ExitUsage} {
		s := &session{
			cfg: config{Server: "http://localhost", Channel: channel, Root: root},
			cli: cli.NewContext(newApp(), flag.NewFlagSet("", flag.ContinueOnError), nil),
		}
		if _, err := s.clientOptions(); console.ExitCode(err) != want {
			t.Errorf("channel %q: %v", channel, err)
		}
	}
}
