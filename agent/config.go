package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v2"

	"tufboot/agent/health"
	"tufboot/agent/watchdog"
	"tufboot/image"
	"tufboot/internal/console"
)

// config is /etc/tufboot/agent.yaml. Unknown keys are an error, so that a
// misspelt one is not ignored in silence.
type config struct {
	Server   string `yaml:"server"`
	Channel  string `yaml:"channel"`
	Root     string `yaml:"root"`
	StateDir string `yaml:"state_dir"`
	// RunDir is empty after each boot. The units and scripts know it as /run/tufboot.
	RunDir string `yaml:"run_dir"`
	// RolloutSeed gives the node its place in rollouts; "": a random one that is
	// kept in the state folder.
	RolloutSeed string `yaml:"rollout_seed"`
	// Maintenance is what becomes of the channel's maintenance window: "ignore" or
	// "follow".
	Maintenance string `yaml:"maintenance"`
	// Delta lets the agent fetch only what the slots do not hold already.
	Delta bool `yaml:"delta"`
	// BandwidthLimit is what fetching a release may take of the network; "": all.
	BandwidthLimit string `yaml:"bandwidth_limit"`
	// Priority is how an update shares processor and disk: "low" or "normal".
	Priority string         `yaml:"priority"`
	Disk     string         `yaml:"disk"`
	Labels   labelConfig    `yaml:"labels"`
	Grubenv  string         `yaml:"grubenv"`
	Health   healthConfig   `yaml:"health"`
	Watchdog watchdogConfig `yaml:"watchdog"`
	Reboot   rebootConfig   `yaml:"reboot"`
}

type labelConfig struct {
	EFI     string `yaml:"efi"`
	SystemA string `yaml:"system_a"`
	SystemB string `yaml:"system_b"`
	Data    string `yaml:"data"`
}

type healthConfig struct {
	Deadline   time.Duration    `yaml:"deadline"`
	Interval   time.Duration    `yaml:"interval"`
	Timeout    time.Duration    `yaml:"timeout"`
	Containerd containerdConfig `yaml:"containerd"`
	APIServer  apiServerConfig  `yaml:"api_server"`
	NodeReady  nodeReadyConfig  `yaml:"node_ready"`
	DropIn     dropInConfig     `yaml:"drop_in"`
}

type containerdConfig struct {
	Enabled bool   `yaml:"enabled"`
	Socket  string `yaml:"socket"`
}

type apiServerConfig struct {
	Enabled    bool   `yaml:"enabled"`
	Kubeconfig string `yaml:"kubeconfig"`
}

type nodeReadyConfig struct {
	Enabled bool   `yaml:"enabled"`
	Node    string `yaml:"node"`
}

type dropInConfig struct {
	Enabled bool   `yaml:"enabled"`
	Dir     string `yaml:"dir"`
}

type watchdogConfig struct {
	Device  string        `yaml:"device"` // "": none
	Timeout time.Duration `yaml:"timeout"`
	Limit   time.Duration `yaml:"limit"` // 0: health.deadline and watchdogMargin
}

type rebootConfig struct {
	Sentinel string   `yaml:"sentinel"`
	Command  []string `yaml:"command"`
}

// The values of `maintenance:`.
const (
	maintenanceIgnore = "ignore"
	maintenanceFollow = "follow"
)

func defaultSettings() config {
	l := image.DefaultLabels()
	return config{
		Channel:     "stable",
		Root:        "/etc/tufboot/root.json",
		StateDir:    "/var/lib/tufboot",
		RunDir:      "/run/tufboot",
		Maintenance: maintenanceIgnore,
		Delta:       true,
		Priority:    priorityLow,
		Labels:      labelConfig{EFI: l.EFI, SystemA: l.SystemA, SystemB: l.SystemB, Data: l.Data},
		Health: healthConfig{
			Deadline: health.DefaultDeadline, Interval: health.DefaultInterval, Timeout: health.DefaultTimeout,
			Containerd: containerdConfig{Enabled: true, Socket: "/run/containerd/containerd.sock"},
			APIServer:  apiServerConfig{Enabled: true},
			NodeReady:  nodeReadyConfig{Enabled: true},
			DropIn:     dropInConfig{Enabled: true, Dir: "/etc/tufboot/health"},
		},
		Watchdog: watchdogConfig{Timeout: time.Minute},
		Reboot:   rebootConfig{Sentinel: "/run/tufboot/reboot-required"},
	}
}

// loadConfig reads the configuration file and puts the flags and environment
// variables of the command line over it. A file that is missing at its default
// place is an empty one.
func loadConfig(c *cli.Context) (config, error) {
	path := c.String("config")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !c.IsSet("config") {
		data, err = nil, nil
	}
	if err != nil {
		return config{}, console.Usagef("configuration: %w", err)
	}
	cfg, err := parseConfig(data)
	if err != nil {
		return config{}, console.Usagef("configuration %s: %w", path, err)
	}
	for name, field := range map[string]*string{
		"server": &cfg.Server, "channel": &cfg.Channel, "root": &cfg.Root, "state-dir": &cfg.StateDir,
		"disk": &cfg.Disk, "grubenv": &cfg.Grubenv, "bandwidth-limit": &cfg.BandwidthLimit,
	} {
		if c.IsSet(name) {
			*field = c.String(name)
		}
	}
	if cfg.StateDir == "" {
		return config{}, console.Usagef("no folder for what the agent remembers: `state_dir:` in %s, or --state-dir, is empty", path)
	}
	return cfg, nil
}

func parseConfig(data []byte) (config, error) {
	cfg := defaultSettings()
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.SetStrict(true)
	if err := d.Decode(&cfg); err != nil && !errors.Is(err, io.EOF) {
		return config{}, err
	}
	if cfg.Maintenance != maintenanceIgnore && cfg.Maintenance != maintenanceFollow {
		return config{}, fmt.Errorf("maintenance: %q: use %s or %s", cfg.Maintenance, maintenanceIgnore, maintenanceFollow)
	}
	if cfg.Priority != priorityLow && cfg.Priority != priorityNormal {
		return config{}, fmt.Errorf("priority: %q: use %s or %s", cfg.Priority, priorityLow, priorityNormal)
	}
	if _, err := parseRate(cfg.BandwidthLimit); err != nil {
		return config{}, err
	}
	if cfg.Watchdog.Limit == 0 {
		cfg.Watchdog.Limit = cfg.Health.Deadline + watchdogMargin
	}
	if cfg.Watchdog.Timeout < watchdog.MinTimeout {
		return config{}, fmt.Errorf("watchdog.timeout: %v is too short; write it with its unit, as in 60s", cfg.Watchdog.Timeout)
	}
	for name, d := range map[string]time.Duration{
		"watchdog.limit":  cfg.Watchdog.Limit,
		"health.deadline": cfg.Health.Deadline, "health.interval": cfg.Health.Interval, "health.timeout": cfg.Health.Timeout,
	} {
		if d < time.Millisecond { // a number without a unit means nanoseconds
			return config{}, fmt.Errorf("%s: %v is no useful duration; write it with its unit, as in 90s", name, d)
		}
	}
	return cfg, nil
}
